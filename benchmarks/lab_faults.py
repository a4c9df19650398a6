"""What kills cost the lab: of itself and of its workers, at random moments, again and again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import Figure
from neural_architecture_lab.store import Archive

KILLS = 20
ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """
import os, sys, time
from pathlib import Path
from neural_architecture_lab import (
    Arm, Hypothesis, HypothesisCategory, LabConfig, NeuralArchitectureLab, Prediction,
)
from neural_architecture_lab.runners import Limits

folder = Path(sys.argv[1])

def experiment(trial, *, device):
    with (folder / "begun").open("a") as stream:
        stream.write(f"{trial.id} {os.getpid()}\\n")
    time.sleep(0.2)  # long enough to be killed in
    return {"accuracy": trial.seed % 3 / 10 + (trial.arm == "b")}

hypothesis = Hypothesis(
    name="h", category=HypothesisCategory.TRAINING, question="?", prediction="!",
    experiment=experiment, arms=[Arm("a", {}, control=True), Arm("b", {})],
    predictions=[Prediction("accuracy", "higher", 0.2)], seeds=int(sys.argv[2]),
)
lab = NeuralArchitectureLab(LabConfig(
    max_parallel_experiments=2, results_dir=folder / "results", runner="processes",
    limits=Limits(retries=5),
))
print(lab.run_hypothesis_test(lab.register_hypothesis(hypothesis)))
"""


@dataclass(frozen=True)
class Damage:
    """What kills did.

    Args:
        kills: How many there were.
        lost: Trials without a finished record, once all is done.
        repeated: Finished trials that were recorded again, or begun again after their record.
        begun_again: Trials that were begun again because a kill took them along.
    """

    kills: int
    lost: int
    repeated: int
    begun_again: int


def labs_killed(kills: int = KILLS, seeds: int = 100, seed: int = 0) -> Damage:
    """One lab that is killed at random moments and begun again, until nothing is missing."""
    draw, killed, repeated = random.Random(seed), 0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        while True:
            before, already = _finished(folder), Counter(_begun(folder))
            lab = _begin(folder, seeds)
            if killed < kills:
                _wait_for_more(folder, lab, sum(already.values()))
                time.sleep(draw.uniform(0.0, 1.0))  # killed at any moment
            killed += _kill(lab.pid) if killed < kills and lab.poll() is None else 0
            lab.communicate()
            repeated += len(before.keys() & (Counter(_begun(folder)) - already).keys())
            if lab.returncode == 0:
                return _damage(folder, killed, repeated, seeds)


def workers_killed(kills: int = KILLS, seeds: int = 60, seed: int = 0) -> Damage:
    """One lab whose workers are killed at random moments."""
    draw, killed = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lab = _begin(folder, seeds)
        _wait_for_more(folder, lab, 0)
        while killed < kills and lab.poll() is None:
            time.sleep(draw.uniform(0.1, 0.6))  # killed at any moment
            killed += _kill(draw.choice(_processes(folder)[-2:]))
        _, wrong = lab.communicate()
        if lab.returncode:
            raise RuntimeError(wrong)
        return _damage(folder, killed, 0, seeds)


def figures() -> list[Figure]:
    """The damage of kills of both kinds."""
    found = []
    for what, damage in (("the lab", labs_killed()), ("a worker", workers_killed())):
        note = f"{damage.kills} kills; {damage.begun_again} unfinished trials begun again"
        found.append(Figure(f"finished trials lost, kill -9 of {what}", damage.lost, "", 0, note))
        found.append(Figure(f"finished trials repeated, kill -9 of {what}", damage.repeated, "", 0))
    return found


def _damage(folder: Path, kills: int, repeated: int, seeds: int) -> Damage:
    finished, begun = _finished(folder), Counter(_begun(folder))
    twice = sum(count > 1 for count in finished.values())
    again = sum(count - 1 for count in begun.values())
    return Damage(kills, 2 * seeds - len(finished), repeated + twice, again)


def _begin(folder: Path, seeds: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), str(seeds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def _lines(folder: Path) -> list[str]:
    path = folder / "begun"
    return path.read_text("utf-8").split("\n")[:-1] if path.exists() else []


def _begun(folder: Path) -> list[str]:
    return [line.rsplit(" ", 1)[0] for line in _lines(folder)]


def _processes(folder: Path) -> list[int]:
    return [int(line.rsplit(" ", 1)[1]) for line in _lines(folder)]


def _wait_for_more(folder: Path, lab: subprocess.Popen[str], count: int) -> None:
    while len(_lines(folder)) <= count and lab.poll() is None:
        time.sleep(0.02)  # between two looks at the file


def _kill(process: int) -> int:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return 1


def _finished(folder: Path) -> Counter[str]:
    if not (folder / "results").exists():
        return Counter()
    trials = Archive(folder / "results").trials("h")
    return Counter(one.trial for one in trials if one.status == "finished")
