"""What Ctrl-C does to a command that runs trials."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from neural_architecture_lab.cli import main
from neural_architecture_lab.store import Archive

ROOT = Path(__file__).resolve().parents[3]
# A shell in the background begins its programs with Ctrl-C ignored, which would reach the command.
COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from neural_architecture_lab.cli import main
sys.exit(main(sys.argv[1:]))
"""
FILE = """
import time
from pathlib import Path
from neural_architecture_lab import Arm, Hypothesis, Prediction

def experiment(trial, *, device):
    # The third trial waits for Ctrl-C; where none comes any more, for the file that says so.
    while trial.seed and trial.arm == "b" and not Path("go").exists():
        time.sleep(0.01)
    return {"accuracy": trial.seed % 3 / 10 + (trial.arm == "b")}

H = Hypothesis("h", "training", "?", "!", experiment, (Arm("a", control=True), Arm("b")),
    predictions=(Prediction("accuracy", "higher", 0.2),), seeds=4)
"""


def test_ctrl_c_ends_a_run_cleanly_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "interrupted_claims.py").write_text(FILE)
    words = ["run", "interrupted_claims.py", "--results", "my results"]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    archive = Archive(tmp_path / "my results")
    while process.poll() is None and sum(1 for _ in archive.trials("h")) < 2:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, error = process.communicate()
    assert process.returncode == 130, error
    said = "what ended is kept, and `nal resume --results 'my results'` goes on from there."
    assert error == f"nal: stopped by Ctrl-C; {said}\n"
    kept = [trial.trial for trial in archive.trials("h")]
    assert len(kept) >= 2
    assert {trial.status for trial in archive.trials("h")} == {"finished"}

    (tmp_path / "go").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert main(["resume", "--results", "my results"]) == 0
    assert "h: SUPPORTED after 4 of 4 seeds" in capsys.readouterr().out
    trials = [trial.trial for trial in archive.trials("h")]
    assert trials[: len(kept)] == kept
    assert len(trials) == len(set(trials)) == 8
