"""Library hypotheses on other data, and trackers, from the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from neural_architecture_lab.cli import main
from neural_architecture_lab.cli.loading import found_again, loaded
from neural_architecture_lab.configuration import LabConfig
from neural_architecture_lab.errors import HypothesisError
from neural_architecture_lab.lab import NeuralArchitectureLab
from neural_architecture_lab.store import Archive

CLAIM = """
from neural_architecture_lab import Arm, Hypothesis, Prediction

def experiment(trial, *, device):
    return {"accuracy": trial.seed / 10 + (trial.arm == "b")}

ONE = Hypothesis("one", "training", "?", "!", experiment,
    (Arm("a", control=True), Arm("b")), predictions=(Prediction("accuracy", "higher"),), seeds=3)
"""


def test_a_hypothesis_of_the_library_is_found_again_on_its_data(tmp_path: Path) -> None:
    ((moved, source),) = loaded(["deep_against_wide"], seeds=2, dataset="parity")
    assert source == "deep_against_wide"
    arms = tuple(
        replace(arm, settings={**arm.settings, "iterations": 1, "epochs": 1}) for arm in moved.arms
    )
    lab = NeuralArchitectureLab(LabConfig(results_dir=tmp_path))
    lab.run_hypothesis_test(lab.register_hypothesis(replace(moved, arms=arms)))
    frozen = Archive(tmp_path).hypotheses()[moved.id]
    again = found_again(frozen, {moved.id: source})
    assert [arm.settings["dataset"] for arm in again.arms] == ["parity", "parity"]
    assert again.seeds == 2


def test_what_names_no_data_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HypothesisError, match="say which by --dataset"):
        loaded(["deep_against_wide"], data_dir="x")
    assert main(["run", "deep_against_wide", "--dataset", "mars"]) == 2
    assert "mars" in capsys.readouterr().err
    assert main(["run", "deep_against_wide", "--log", "paper"]) == 2
    assert "--log must be one of" in capsys.readouterr().err
    words = ["run", "deep_against_wide", "--log", "wandb", "--wandb-tracking", "all"]
    assert main(words) == 2
    assert "tracking must be 'batch' or 'trials'" in capsys.readouterr().err


def test_a_run_is_logged_where_it_is_told_to_with_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / f"tracked_{abs(hash(str(tmp_path)))}.py"
    file.write_text(CLAIM)
    monkeypatch.chdir(tmp_path)
    words = ["run", file.name, "--results", "r", "--log", "series"]
    assert main([*words, "--log", "wandb", "--wandb-mode", "disabled"]) == 0
    records = tmp_path / "r" / "records"
    assert (records / "series.h5").is_file()
    assert not (records / "wandb").exists()
    assert '"name":"report.html"' in (records / "records.jsonl").read_text()
