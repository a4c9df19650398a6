"""Labs of replicas as scripts of their own: unguarded, and interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from neural_architecture_lab.cli import main
from neural_architecture_lab.store import Archive

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from neural_architecture_lab import (
    Arm, Hypothesis, LabConfig, NeuralArchitectureLab, Prediction, ReplicaExperiment, ReplicaPlan,
)

folder = sys.argv[1]
plan = ReplicaPlan((64, 16, 10), epochs=2, learning_rate=0.01)
hypothesis = Hypothesis(
    name="h", category="training", question="?", prediction="!",
    experiment=ReplicaExperiment(plan),
    arms=[Arm("a", {}, control=True), Arm("b", {"epochs": int(sys.argv[2])})],
    predictions=[Prediction("accuracy", "higher")], seeds=5,
)
def tell(result, ended, of):
    print(result.trial.id, flush=True)

lab = NeuralArchitectureLab(LabConfig(max_parallel_experiments=2, results_dir=folder))
print(lab.run_hypothesis_test(lab.register_hypothesis(hypothesis), on_result=tell).runner)
"""
ENDLESS = 10**8


def test_nal_trains_a_hypothesis_of_the_library_as_replicas(tmp_path: Path) -> None:
    words = ["run", "sparsity_level", "--seeds", "5", "--results", str(tmp_path)]
    assert main([*words, "--runner", "replicas"]) == 0
    trials = list(Archive(tmp_path).trials("sparsity_level"))
    assert len(trials) == 15
    assert {(one.runner, one.status) for one in trials} == {("replicas", "finished")}
    assert main([*words[:1], "growth_timing", *words[2:], "--runner", "replicas"]) == 2


@pytest.mark.timeout(600)
def test_an_interrupt_ends_the_training_and_what_ended_is_kept(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    lab = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "results"), str(ENDLESS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert lab.stdout is not None
    first = lab.stdout.readline().strip()
    lab.send_signal(signal.SIGINT)
    said, wrong = lab.communicate(timeout=300)
    assert first.startswith("h/a/0/"), wrong
    assert "KeyboardInterrupt" in wrong
    assert all(line.startswith("h/a/0/") for line in said.splitlines())
    kept = [one.trial for one in Archive(tmp_path / "results").trials("h")]
    assert first in kept
    assert all(one.startswith("h/a/") for one in kept)
