from __future__ import annotations

import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from neural_architecture_lab import (
    Arm,
    Hypothesis,
    HypothesisCategory,
    LabConfig,
    NeuralArchitectureLab,
    Prediction,
    Trial,
)
from neural_architecture_lab.outcomes import Outcome
from neural_architecture_lab.progress import progress_on, progress_on_terminal
from neural_architecture_lab.runners import Result
from structure_net.core.compiling import compiled

ENDED = Result(Trial("h", "a", 0, {}), "finished", Outcome({"x": 1.0}))
FAILED = Result(Trial("h", "a", 1, {}), "failed", error="Traceback\nValueError: no")


def doubled(value: float) -> float:
    return 2 * value


def squared(value: float) -> float:
    return value * value


def told(console: Console, of: int) -> None:
    with progress_on(console, "running", of) as tell:
        for ended in range(1, of + 1):
            tell(FAILED if ended == 2 else ENDED, ended, of)


def test_elsewhere_a_line_is_written_for_each_tenth_and_each_failure() -> None:
    written = StringIO()
    told(Console(file=written, width=80), 20)
    lines = written.getvalue().splitlines()
    assert lines[0] == "running: 2 of 20 trials"
    assert lines[1] == "h/a/0/1: failed ValueError: no"
    assert len(lines) == 11


def test_on_a_terminal_a_bar_says_what_runs_and_how_far_it_is() -> None:
    written = StringIO()
    told(Console(file=written, width=80, force_terminal=True, color_system=None), 3)
    shown = written.getvalue()
    assert "running h" in shown
    assert "3/3" in shown
    assert "failed ValueError: no" in shown


def test_on_a_terminal_it_is_said_once_that_kernels_are_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRUCTURE_NET_CACHE", str(tmp_path))
    written = StringIO()
    console = Console(file=written, width=80, force_terminal=True, color_system=None)
    with progress_on(console, "running", 3):
        assert compiled("float64(float64)")(doubled)(1.0) == 2
        assert compiled("float64(float64)")(squared)(3.0) == 9
    assert written.getvalue().count("compiling kernels") == 1


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def experiment(trial: Trial, *, device: str) -> dict[str, float]:
    return {"accuracy": trial.seed / 7 + (trial.arm == "b")}


def run(folder: Path, *, progress: bool) -> None:
    lab = NeuralArchitectureLab(LabConfig(results_dir=folder, progress=progress))
    arms = (Arm("a", control=True), Arm("b"))
    claim = (Prediction("accuracy", "higher"),)
    category = HypothesisCategory.TRAINING
    made = Hypothesis("h", category, "?", "!", experiment, arms, predictions=claim, seeds=3)
    lab.run_hypothesis_test(lab.register_hypothesis(made))


@pytest.mark.parametrize("progress", [True, False])
def test_a_lab_shows_its_progress_on_a_terminal_unless_told_not_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, progress: bool
) -> None:
    written = Terminal()
    monkeypatch.setattr(sys, "stderr", written)
    monkeypatch.setenv("TERM", "xterm")
    run(tmp_path, progress=progress)
    assert ("running h" in written.getvalue()) == progress


def test_a_lab_says_nothing_where_there_is_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_on_terminal("running", 1) as tell:
        tell(FAILED, 1, 1)
    run(tmp_path, progress=True)
    assert capsys.readouterr() == ("", "")
