"""Labs as scripts, run in processes of their own, which tests interrupt and kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from neural_architecture_lab.store import Archive

ROOT = Path(__file__).resolve().parents[3]
UNGUARDED = """
import os, sys, time
from pathlib import Path
from neural_architecture_lab import (
    Arm, Hypothesis, HypothesisCategory, LabConfig, NeuralArchitectureLab, Prediction,
)

folder, runner, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
with (folder / "imported").open("a") as stream:
    stream.write("once\\n")

def experiment(trial, *, device):
    with (folder / "begun").open("a") as stream:
        stream.write(f"{trial.id} {os.getpid()}\\n")
    time.sleep(seconds)
    return {"accuracy": trial.seed % 3 / 10 + (trial.arm == "b")}

hypothesis = Hypothesis(
    name="h", category=HypothesisCategory.TRAINING, question="?", prediction="!",
    experiment=experiment, arms=[Arm("a", {}, control=True), Arm("b", {})],
    predictions=[Prediction("accuracy", "higher", 0.2)], seeds=6,
)
config = LabConfig(max_parallel_experiments=2, results_dir=folder / "results", runner=runner)
lab = NeuralArchitectureLab(config)
print(lab.run_hypothesis_test(lab.register_hypothesis(hypothesis)))
"""
TRIALS = 12


def begin(folder: Path, runner: str = "auto", seconds: float = 0.0) -> subprocess.Popen[str]:
    """A lab of twelve trials, two at once, in a session of its own."""
    script = folder / "script.py"
    script.write_text(UNGUARDED, encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, str(script), str(folder), runner, str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )


def begun(folder: Path) -> list[tuple[str, int]]:
    """The trials that were begun, in order, each with its process."""
    try:
        lines = (folder / "begun").read_text("utf-8").split("\n")[:-1]
    except FileNotFoundError:
        return []
    return [(name, int(process)) for name, process in (line.rsplit(" ", 1) for line in lines)]


def wait_until_begun(folder: Path, lab: subprocess.Popen[str], count: int) -> None:
    """Returns when ``count`` trials were begun, or the lab has ended."""
    while len(begun(folder)) < count and lab.poll() is None:
        time.sleep(0.02)


def finished(folder: Path) -> Counter[str]:
    """How often each trial is on record as finished."""
    archive = Archive(folder / "results")
    return Counter(one.trial for one in archive.trials("h") if one.status == "finished")


def is_gone(process: int, seconds: float = 250.0) -> bool:
    """Whether a process ends within ``seconds``."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def kill_one_worker(folder: Path) -> None:
    """Kills the worker that began last, if it still runs."""
    try:
        os.kill(begun(folder)[-1][1], signal.SIGKILL)
    except (ProcessLookupError, IndexError):
        return
