"""A lab of ten thousand trials: what each costs beside its experiment, and whether memory is flat.

The experiment computes nothing, so that all that is measured is the lab: laying out, running one by
one, writing each trial to the spool, judging; then the report and the insights of the folder. Each
of these has a process of its own, whose memory is read every thousand trials, or at its peak.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Figure

TRIALS = 10_000
ARMS, POINTS = 4, 25


def nothing(trial: Any, *, device: str) -> Any:
    """Numbers out of a hat, with a curve of ten epochs, as a trial of a training has."""
    from neural_architecture_lab import Outcome

    drawn = np.random.default_rng([trial.seed, trial.point]).random(12)
    metrics = {"accuracy": float(drawn[0]), "parameters": 100.0 * drawn[1], "loss": float(drawn[2])}
    return Outcome(metrics, {"loss": drawn[2:].tolist()})


def claim(trials: int) -> Any:
    """Four arms at twenty-five points, on as many seeds as make up the trials."""
    from neural_architecture_lab import Arm, Hypothesis, HypothesisCategory, Prediction

    arms = [Arm(f"arm {place}", {"place": place}, control=place == 0) for place in range(ARMS)]
    return Hypothesis(
        "Ten thousand trials",
        HypothesisCategory.TRAINING,
        "What does a lab cost by itself?",
        "Nothing differs.",
        experiment=nothing,
        arms=arms,
        factors={"width": [1, 2, 4, 8, 16], "depth": [1, 2, 3, 4, 5]},
        predictions=[Prediction("accuracy", "higher", 0.01, arm="arm 1")],
        seeds=max(trials // (ARMS * POINTS), 2),
    )


def run(folder: str, trials: int) -> dict[str, Any]:
    """Runs them all, one by one, in this process."""
    from neural_architecture_lab import LabConfig, NeuralArchitectureLab

    memory: list[float] = []

    def note(result: Any, ended: int, of: int) -> None:
        if ended % 1000 == 0:
            memory.append(_resident())

    lab = NeuralArchitectureLab(LabConfig(results_dir=folder))
    one = lab.register_hypothesis(claim(trials))
    begun = time.perf_counter()
    result = lab.run_hypothesis_test(one, on_result=note)
    seconds = time.perf_counter() - begun
    return {"trials": result.review.trials, "seconds": seconds, "memory": memory}


def report(folder: str, trials: int) -> dict[str, Any]:
    """The report as Markdown, then as a page."""
    from neural_architecture_lab.report import report_of
    from neural_architecture_lab.store import Archive

    begun = time.perf_counter()
    made = report_of(Archive(folder))
    text = str(made)
    seconds = time.perf_counter() - begun
    begun = time.perf_counter()
    page = made.html()
    drawn = time.perf_counter() - begun
    return {"seconds": seconds, "page": drawn, "letters": [len(text), len(page)], **_peak()}


def insights(folder: str, trials: int) -> dict[str, Any]:
    """The insights alone."""
    from neural_architecture_lab.insights import extract
    from neural_architecture_lab.store import Archive

    begun = time.perf_counter()
    found = extract(Archive(folder))
    return {"seconds": time.perf_counter() - begun, "found": len(found), **_peak()}


def imported(folder: str, trials: int) -> dict[str, Any]:
    """What the packages take by themselves, which the others are compared with."""
    import scipy.stats  # noqa: F401 - what is measured is its memory

    import neural_architecture_lab.experiments  # noqa: F401 - as above

    return _peak()


PARTS = {"imported": imported, "run": run, "report": report, "insights": insights}


def figures() -> list[Figure]:
    """Each part in a process of its own, over what the imports take."""
    with tempfile.TemporaryDirectory() as folder:
        found = {part: _measured(part, f"{folder}/lab") for part in PARTS}
        files = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    ran, idle = found["run"], found["imported"]["peak_mib"]
    memory = ran["memory"]
    note = f"{TRIALS:,} trials that do nothing: 4 arms at 25 points, 100 seeds, a curve each"
    return [
        Figure("overhead of a trial with a curve", 1e3 * ran["seconds"] / TRIALS, "ms", 5, note),
        Figure("memory from the 1,000th trial to the last", memory[-1] - memory[0], "MiB", 8, note),
        Figure("report of 10,000 trials as text, with insights", found["report"]["seconds"], "s"),
        Figure("... and as a page", found["report"]["page"], "s", None, "6 pictures"),
        Figure("... memory beyond imports", found["report"]["peak_mib"] - idle, "MiB"),
        Figure("insights of 10,000 trials", found["insights"]["seconds"], "s", None, "imports too"),
        Figure("... memory beyond imports", found["insights"]["peak_mib"] - idle, "MiB"),
        Figure("a trial on the disk", files / TRIALS, "bytes", None, "with a curve of 10 epochs"),
    ]


def _measured(part: str, folder: str) -> dict[str, Any]:
    said = [sys.executable, "-m", "benchmarks.lab_scale", part, folder]
    done = subprocess.run(said, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _resident() -> float:
    """What this process holds in memory now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _peak() -> dict[str, float]:
    """The most that this process ever held, in MiB."""
    return {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(PARTS[sys.argv[1]](sys.argv[2], TRIALS)) + "\n")
