from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from neural_architecture_lab.store import Archive

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import resource, sys
from neural_architecture_lab import (
    Arm, Hypothesis, HypothesisCategory, LabConfig, NeuralArchitectureLab, Outcome, Prediction,
)

def experiment(trial, *, device):
    return Outcome({"accuracy": trial.seed % 3 / 10 + (trial.arm == "b")}, notes={"x": "y" * 5000})

lab = NeuralArchitectureLab(LabConfig(results_dir=sys.argv[1]))
hypothesis = lab.register_hypothesis(Hypothesis(
    name="h", category=HypothesisCategory.TRAINING, question="?", prediction="!",
    experiment=experiment, arms=[Arm("a", {}, control=True), Arm("b", {})],
    predictions=[Prediction("accuracy", "higher", 0.2)], seeds=20,
))
if sys.argv[2:]:
    # No file may grow beyond this: writes fail as they do on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
print(lab.run_hypothesis_test(hypothesis))
"""


def run(folder: Path, *full: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), *full],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.skipif(sys.platform == "win32", reason="it needs a limit on the size of files")
def test_a_full_disk_stops_the_lab_in_words_and_its_store_opens(tmp_path: Path) -> None:
    stopped = run(tmp_path, "full")
    assert stopped.returncode == 1
    assert "StoreError" in stopped.stderr
    assert "Free some space or mend the disk, then go on." in stopped.stderr
    kept = Counter(trial.trial for trial in Archive(tmp_path).trials("h"))
    assert 5 <= len(kept) < 40
    assert run(tmp_path).stdout.startswith("h: SUPPORTED after 20 of 20 seeds")
    assert Counter(trial.trial for trial in Archive(tmp_path).trials("h")).most_common(1)[0][1] == 1
