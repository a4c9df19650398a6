"""`nal resume` needs no program: what was frozen says how to go on, and how it was run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from neural_architecture_lab import (
    Arm,
    Hypothesis,
    LabConfig,
    NeuralArchitectureLab,
    Prediction,
    Range,
    Stopping,
    Trial,
)
from neural_architecture_lab.cli import main
from neural_architecture_lab.cli.commands import resumed
from neural_architecture_lab.errors import HypothesisError, StoreError
from neural_architecture_lab.experiments import completed
from neural_architecture_lab.restoring import (
    bring_back,
    hypothesis_of,
    search_of,
)
from neural_architecture_lab.run_settings import (
    FILE,
    RunSettings,
    keep_run_settings,
    run_settings_of,
)
from neural_architecture_lab.runners.protocol import Limits, Result
from neural_architecture_lab.searching import Rungs, Search
from neural_architecture_lab.store import Archive
from neural_architecture_lab.trials import design

CALLS: list[str] = []


def experiment(trial: Trial, *, device: str) -> dict[str, float]:
    CALLS.append(trial.id)
    own = {"low": 0.5, "high": 1.0}.get(str(trial.settings.get("level", "low")), 0.0)
    return {"accuracy": own + trial.seed % 3 / 100 + (trial.arm == "b") / 5}


def suggest(trial: Any) -> dict[str, Any]:
    return {"level": trial.suggest_categorical("level", ["low", "high"])}


class Nameless:
    def __call__(self, trial: Trial, *, device: str) -> dict[str, float]:
        return experiment(trial, device=device)


def hypothesis(**changes: Any) -> Hypothesis:
    said: dict[str, Any] = {
        "name": "Levels",
        "category": "training",
        "question": "?",
        "prediction": "!",
        "experiment": experiment,
        "arms": (Arm("b"), Arm("a", {"rate": 1}, control=True)),
        "predictions": (Prediction("accuracy", "higher", 0.01),),
        "seeds": 6,
    }
    return Hypothesis(**{**said, **changes})


def stopped_after(count: int, lab: NeuralArchitectureLab, key: str) -> None:
    def stop(result: Result, ended: int, of: int) -> None:
        if ended == count:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lab.run_hypothesis_test(key, on_result=stop)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"factors": {"level": ["low", "high"]}},
        {"factors": {"x": Range(1, 100, log=True)}, "layout": "latin-hypercube", "points": 5},
        {"stopping": Stopping((3, 6), "pocock"), "alpha": 0.01, "power": 0.9},
        {"stopping": Stopping(), "seeds": None},
    ],
    ids=["plain", "grid", "drawn", "looks", "planned"],
)
def test_a_frozen_hypothesis_made_again_is_the_same_to_the_hash(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    lab = NeuralArchitectureLab(LabConfig(results_dir=tmp_path))
    made = hypothesis(**changes)
    stopped_after(1, lab, lab.register_hypothesis(made))
    frozen = Archive(tmp_path).hypotheses()["levels"]
    assert frozen.statement["recipe"] is not None
    again = design(hypothesis_of(frozen))
    assert again.hash == frozen.digest
    assert again.trials == design(made).trials


def test_a_follow_up_that_a_program_began_goes_on_by_nal_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = NeuralArchitectureLab(LabConfig(results_dir=tmp_path))
    made = hypothesis(factors={"level": ["low", "high"]})
    lab.run_hypothesis_test(lab.register_hypothesis(made))
    follow_ups = [one.follow_up for one in lab.extract_insights() if one.follow_up]
    crossed = next(one for one in follow_ups if one.predictions[0].metric == "accuracy")
    key = lab.register_hypothesis(crossed)
    stopped_after(3, lab, key)
    CALLS.clear()
    assert main(["resume", "--results", str(tmp_path)]) == 0
    assert "deviation" not in capsys.readouterr().out
    archive = Archive(tmp_path)
    trials = [one.trial for one in archive.trials(key)]
    assert len(trials) == len(set(trials)) == len(design(completed(crossed)).trials)
    assert len(CALLS) == len(trials) - 3
    assert len(archive.forms()[key]) == 1


def test_what_no_record_describes_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = NeuralArchitectureLab(LabConfig(results_dir=tmp_path))
    stopped_after(1, lab, lab.register_hypothesis(hypothesis(experiment=Nameless())))
    assert main(["resume", "--results", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "'levels' came from is not known, since a program ran it" in said


def test_a_lab_goes_on_as_it_ran_in_whatever_is_not_told_otherwise(tmp_path: Path) -> None:
    limits = Limits(seconds=60, retries=2)
    config = LabConfig(3, tmp_path, runner="processes", limits=limits, order=5)
    keep_run_settings(config, ["/somewhere"])
    kept = run_settings_of(tmp_path)
    assert kept == RunSettings(3, "processes", "cpu", limits, 5, ("/somewhere",))
    again = resumed(tmp_path, None, None, None)
    assert again == config
    told = resumed(tmp_path, 1, "serial", None, limits=(None, 9.0))
    assert (told.max_parallel_experiments, told.runner, told.order) == (1, "serial", 5)
    assert told.limits == Limits(60, 9.0, 2)
    assert run_settings_of(tmp_path / "absent") == RunSettings()
    (tmp_path / FILE).write_text("{")
    with pytest.raises(StoreError, match=r"cannot be read .* delete it to go on"):
        run_settings_of(tmp_path)


def test_a_run_leaves_behind_how_it_ran(tmp_path: Path) -> None:
    lab = NeuralArchitectureLab(LabConfig(2, tmp_path, runner="serial"))
    lab.run_hypothesis_test(lab.register_hypothesis(hypothesis(seeds=2)))
    kept = run_settings_of(tmp_path)
    assert (kept.parallel, kept.runner) == (2, "serial")
    assert str(Path(__file__).resolve().parents[3]) in kept.folders


def test_places_of_experiments_come_behind_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["a"])
    bring_back(RunSettings(folders=("b", "a")))
    assert sys.path == ["a", "b"]


@pytest.mark.extras
@pytest.mark.parametrize("kind", ["levels", "function", "rungs"])
def test_a_search_that_a_program_began_goes_on_by_nal_alone(kind: str, tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    more: dict[str, Any] = {"space": suggest} if kind == "function" else {}
    if kind == "rungs":
        more = {"rungs": Rungs("epochs", (1, 2)), "pruner": optuna.pruners.NopPruner()}
    said: dict[str, Any] = {"space": {"level": ["low", "high"], "x": Range(0, 1)}, **more}
    made = Search("Levels", experiment, objectives={"accuracy": "higher"}, tries=4, **said)

    def stop(result: Result, ended: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        NeuralArchitectureLab(LabConfig(results_dir=tmp_path)).search(made, on_result=stop)
    record = Archive(tmp_path).searches()["levels"]
    if kind == "rungs":
        with pytest.raises(HypothesisError, match="has a pruner of its own"):
            search_of(record)
        return
    assert search_of(record) == made
    assert main(["resume", "--results", str(tmp_path)]) == 0
    settings = [one.status for one in Archive(tmp_path).settings("levels")]
    assert settings.count("complete") == 4


def test_a_report_is_kept_among_the_records_where_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = NeuralArchitectureLab(LabConfig(results_dir=tmp_path))
    lab.run_hypothesis_test(lab.register_hypothesis(hypothesis(seeds=2)))
    records = tmp_path / "records" / "records.jsonl"
    assert '"name":"report.html"' not in records.read_text()
    for _ in range(2):
        assert main(["report", "--keep", "--results", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("# Report of the lab") == 2
    assert records.read_text().count('"name":"report.html"') == 1
