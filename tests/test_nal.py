"""The lab's program, as its first description has it: an unguarded script, run as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from neural_architecture_lab import Verdict
from neural_architecture_lab.reviewing import review
from neural_architecture_lab.store import Archive

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = """
from neural_architecture_lab import (
    NeuralArchitectureLab,
    LabConfig,
    Hypothesis,
    HypothesisCategory,
)

print("imported")
config = LabConfig(max_parallel_experiments=4, results_dir="./nal_results", device="cuda")
lab = NeuralArchitectureLab(config)
hypothesis = Hypothesis(
    name="extrema_growth_efficiency",
    category=HypothesisCategory.GROWTH_DYNAMICS,
    question="Does extrema-based growth lead to more efficient networks?",
    prediction="Networks grown with extrema detection will achieve higher accuracy with"
    " fewer parameters",
)
lab.register_hypothesis(hypothesis)
results = lab.run_hypothesis_test(hypothesis.id)
insights = lab.extract_insights()
print(lab.generate_report())
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    folder = tmp_path_factory.mktemp("nal")
    script = folder / "program.py"
    script.write_text(PROGRAM, encoding="utf-8")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    found = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
    )
    return found, folder


@pytest.mark.timeout(900)
def test_the_program_prints_a_report_and_no_worker_runs_it_again(
    done: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    found, _ = done
    assert found.returncode == 0, found.stderr
    assert found.stdout.count("imported") == 1
    assert "The category growth_dynamics supplies experiment, arms, predictions." in found.stdout
    assert found.stderr.count("torch finds no CUDA device here: the CPU is used") == 1


@pytest.mark.timeout(900)
def test_the_verdict_is_what_the_printed_numbers_justify(
    done: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    found, folder = done
    said = re.search(r"### Verdict: (\w+)", found.stdout)
    assert said is not None
    judged = review(Archive(folder / "nal_results"), ["extrema_growth_efficiency"])
    one = judged["extrema_growth_efficiency"]
    assert said[1] == one.verdict.upper()
    assert one.failed == 0
    for evidence in one.evidence:
        mean, prediction = evidence.mean, evidence.comparison.prediction
        assert mean is not None
        assert str(mean) in found.stdout
        toward = mean.value if prediction.direction == "higher" else -mean.value
        if evidence.verdict is Verdict.SUPPORTED:
            assert toward >= prediction.smallest_effect
            assert 0 not in mean
        if evidence.verdict is Verdict.REFUTED:
            assert toward < 0
            assert 0 not in mean
