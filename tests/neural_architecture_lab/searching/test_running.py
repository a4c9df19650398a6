from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from neural_architecture_lab import LabConfig, NeuralArchitectureLab, Prediction, Range, Verdict
from neural_architecture_lab.errors import SearchError, StoreError
from neural_architecture_lab.runners.protocol import Job, Result
from neural_architecture_lab.runners.serial import SerialRunner
from neural_architecture_lab.searching import Rungs, Search, SearchResult, run_search
from neural_architecture_lab.store import Archive
from tests.neural_architecture_lab.searching.searches import CALLS, SPACE, search

ROOT = Path(__file__).resolve().parents[3]
pytestmark = [pytest.mark.extras]


@pytest.fixture(scope="module")
def optuna() -> Any:
    return pytest.importorskip("optuna")


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


def run(folder: Path, made: Search, **more: Any) -> SearchResult:
    return run_search(made, LabConfig(results_dir=folder), **more)


def test_the_lab_tries_what_optuna_alone_would_try(optuna: Any, tmp_path: Path) -> None:
    def objective(trial: Any) -> float:
        x, kind = trial.suggest_float("x", 0, 1), trial.suggest_categorical("kind", ["a", "b"])
        return float((x - 0.3) ** 2 + 0.1 * (kind == "b") + 0.1)

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=14)
    found = run(tmp_path, search()).searched
    assert [one.params for one in found.tries] == [trial.params for trial in study.trials]
    values = [value for one in found.tries for value in one.values]
    assert values == pytest.approx([trial.value for trial in study.trials], abs=1e-12)
    assert found.best.number == study.best_trial.number


def interrupted(folder: Path, made: Search, every: int) -> SearchResult:
    """Runs a search that is stopped after each ``every`` results, until it is done."""

    def stop(result: Result, ended: int, of: int) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt

    while True:
        left = every
        try:
            return run(folder, made, on_result=stop)
        except KeyboardInterrupt:
            continue


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("kind", ["seeds", "pruned", "rungs", "front"])
def test_a_search_that_was_stopped_ends_as_one_that_was_not(
    optuna: Any, tmp_path: Path, kind: str, every: int
) -> None:
    pruner = optuna.pruners.MedianPruner(n_startup_trials=3)
    changes: dict[str, Any] = {
        "seeds": {"seeds": 2},
        "pruned": {"seeds": 3, "pruner": pruner},
        "rungs": {"pruner": pruner, "rungs": Rungs("epochs", (1, 4, 9))},
        "front": {"objectives": {"loss": "lower", "size": "higher"}},
    }[kind]
    made = search(tries=9, **changes)
    whole = run(tmp_path / "whole", made).searched
    calls = list(CALLS)
    CALLS.clear()
    parts = interrupted(tmp_path / "parts", made, every).searched
    assert parts.tries == whole.tries
    assert parts.trials == whole.trials == len(calls)
    assert sorted(CALLS) == sorted(calls)


KILLED = """
import sys
from neural_architecture_lab import LabConfig
from neural_architecture_lab.searching import run_search
from tests.neural_architecture_lab.searching.searches import search
run_search(search(tries=9, seeds=2), LabConfig(results_dir=sys.argv[1]))
"""


def test_a_search_that_was_killed_loses_and_repeats_nothing(optuna: Any, tmp_path: Path) -> None:
    for kill_at in ("6", "3"):  # in the middle of a trial of the first seed, and of the second
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, str(tmp_path / "killed")],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "KILL_AT": kill_at},
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL
    found = run(tmp_path / "killed", search(tries=9, seeds=2)).searched
    trials = [trial.trial for trial in Archive(tmp_path / "killed").trials("bowl")]
    assert len(trials) == len(set(trials)) == 18
    assert len(CALLS) == 18 - 5 - 2
    assert found.tries == run(tmp_path / "whole", search(tries=9, seeds=2)).searched.tries


def test_what_fails_is_told_and_the_others_go_on(optuna: Any, tmp_path: Path) -> None:
    made = search(settings={"raises_above": 0.7, "nan_above": 0.6}, seeds=2, tries=16)
    found = run(tmp_path, made).searched
    for one in found.tries:
        x = one.params["x"]
        assert one.state == ("complete" if x <= 0.6 else "failed")
        if one.state == "failed":
            raised = f"bowl/setting/{one.number}/0: RuntimeError: too far"
            assert one.reason == (raised if x > 0.7 else "an objective is not a number")
            assert one.values == () or math.isnan(one.values[0])
    assert {one.state for one in found.tries} == {"complete", "failed"}
    assert found.failed == sum("too far" in one.reason for one in found.tries)
    assert found.best.params["x"] == pytest.approx(0.3, abs=0.2)


def test_an_objective_that_is_no_metric_stops_the_search_at_once(
    optuna: Any, tmp_path: Path
) -> None:
    with pytest.raises(SearchError, match=r"objective 'los', but .* returned loss, size only"):
        run(tmp_path, search(objectives={"los": "lower"}))
    assert len(CALLS) == 1


def test_the_pruner_spares_seeds(optuna: Any, tmp_path: Path) -> None:
    pruner = optuna.pruners.MedianPruner(n_startup_trials=4)
    found = run(tmp_path, search(seeds=4, pruner=pruner)).searched
    pruned = [one for one in found.tries if one.state == "pruned"]
    assert pruned
    assert {one.reason for one in pruned} == {"by MedianPruner"}
    assert found.trials == len(CALLS) < 4 * 14
    assert found.best.state == "complete"


def test_on_rungs_the_best_alone_take_the_dearest_step(optuna: Any, tmp_path: Path) -> None:
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    made = search(pruner=pruner, rungs=Rungs("epochs", (1, 2, 4)), tries=16)
    result = run(tmp_path, made)
    arms = [trial.arm for trial in Archive(tmp_path).trials("bowl")]
    counts = [arms.count(f"epochs={level}") for level in (1, 2, 4)]
    assert counts[0] == 16
    assert counts[0] > counts[1] > counts[2] >= 1
    assert counts[2] == result.searched.ended("complete")
    tuned = result.hypothesis().arms[1]
    assert tuned.settings["epochs"] == 4


def test_a_sampler_without_a_seed_goes_on_and_repeats_nothing(optuna: Any, tmp_path: Path) -> None:
    made = search(sampler=optuna.samplers.RandomSampler(), first=[{"x": 0.25, "kind": "a"}])
    found = interrupted(tmp_path, made, 4).searched
    assert found.tries[0].params == {"x": 0.25, "kind": "a"}
    assert len({one.params["x"] for one in found.tries}) == len(CALLS) == len(set(CALLS)) == 14


def test_a_space_that_is_exhausted_ends_the_search(optuna: Any, tmp_path: Path) -> None:
    space: dict[str, Any] = {"x": [0.1, 0.2, 0.3], "kind": ["a", "b"]}
    made = search(space=space, sampler=optuna.samplers.GridSampler(space), tries=50)
    found = run(tmp_path, made).searched
    assert len({tuple(one.params.values()) for one in found.tries}) == len(found.tries) == 6
    assert found.best.params == {"x": 0.3, "kind": "a"}
    assert run(tmp_path, made).searched == found


def suggest(trial: Any) -> dict[str, Any]:
    kind = trial.suggest_categorical("kind", ["a", "b"])
    return {"kind": kind, "x": trial.suggest_float("x", 0, 1) if kind == "a" else 0.9}


def test_a_space_may_be_a_function_and_levels_may_be_lists(optuna: Any, tmp_path: Path) -> None:
    found = run(tmp_path / "function", search(space=suggest)).searched
    assert all(("x" in one.params) == (one.settings["kind"] == "a") for one in found.tries)
    space = {**SPACE, "widths": [[8], [8, 8]], "depth": Range(1, 64, log=True, whole=True)}
    made = search(space=space, first=[{"widths": [8, 8]}])
    found = run(tmp_path / "lists", made).searched
    assert found.tries[0].settings["widths"] == [8, 8]
    assert {type(one.settings["depth"]) for one in found.tries} == {int}
    with pytest.raises(SearchError, match="space must return settings"):
        run(tmp_path / "none", search(space=lambda trial: None))


def test_a_search_can_be_made_longer_and_nothing_else(optuna: Any, tmp_path: Path) -> None:
    run(tmp_path, search(tries=5))
    longer = run(tmp_path, search(tries=9, question="And now?")).searched
    assert longer.tries == run(tmp_path / "at_once", search(tries=9)).searched.tries
    assert longer.changed == ("question was '' and is 'And now?'",)
    with pytest.raises(StoreError, match=r"another search named 'Bowl' \(objectives.loss was"):
        run(tmp_path, search(objectives={"loss": "higher"}))


def test_a_search_and_a_hypothesis_have_different_names(optuna: Any, tmp_path: Path) -> None:
    result = run(tmp_path, search(tries=3))
    lab = NeuralArchitectureLab(LabConfig(results_dir=tmp_path))
    made = result.hypothesis({"x": 0.9}, seeds=5)
    clash = lab.register_hypothesis(type(made)(**{**vars(made), "name": "Bowl"}))
    with pytest.raises(StoreError, match="holds a search named 'bowl'"):
        lab.run_hypothesis_test(clash)
    lab = NeuralArchitectureLab(LabConfig(results_dir=tmp_path / "other"))
    lab.run_hypothesis_test(lab.register_hypothesis(type(made)(**{**vars(made), "name": "Bowl"})))
    with pytest.raises(StoreError, match="holds a hypothesis named 'bowl'"):
        run(tmp_path / "other", search())


def test_what_was_found_is_tested_on_fresh_seeds(optuna: Any, tmp_path: Path) -> None:
    lab = NeuralArchitectureLab(LabConfig(results_dir=tmp_path))
    result = lab.search(search(seeds=2))
    assert str(result).startswith("Bowl: 14 of 14 settings; best loss 0.10")
    made = result.hypothesis({"x": 0.9}, predictions=[Prediction("loss", "lower", 0.01)], seeds=5)
    tested = lab.run_hypothesis_test(lab.register_hypothesis(made))
    assert tested.verdict is Verdict.SUPPORTED
    assert tested.review.frozen.statement["code"]["first_seed"] == "100000"
    assert result.hypothesis({"x": 0.9}).predictions == (Prediction("loss", "lower"),)
    with pytest.raises(SearchError, match="there is nothing to test"):
        result.hypothesis(result.best.settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"sampler": object()}, "sampler must be one of"), ({"pruner": 1}, "pruner must be one of")],
)
def test_parts_must_be_optunas(
    optuna: Any, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SearchError, match=message):
        run(tmp_path, search(seeds=2, **changes))


def test_processes_try_settings_at_once(optuna: Any, tmp_path: Path) -> None:
    made = search(tries=4, settings={"raises_above": 0.9})
    result = run_search(made, LabConfig(2, tmp_path))
    assert result.runner == "processes"
    assert [one.number for one in result.searched.tries] == list(range(4))
    assert result.searched.ended("asked") == 0
    assert not CALLS  # in this process


class Collecting(SerialRunner):
    """Takes whatever it is given before it begins, as a stack of replicas does."""

    def __init__(self, taken: list[int]) -> None:
        self.taken = taken

    def run(self, jobs: Iterable[Job]) -> Iterator[Result]:
        given = list(jobs)
        self.taken.append(len(given))
        yield from super().run(given)


def test_a_runner_that_collects_trials_leaves_the_sampler_something_to_learn_from(
    optuna: Any, tmp_path: Path
) -> None:
    taken: list[int] = []
    run_search(search(tries=7), LabConfig(results_dir=tmp_path, runner=Collecting(taken)))
    assert taken == [3, 3, 1]
