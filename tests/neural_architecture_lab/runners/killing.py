"""Trials on a cluster of which a worker is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

from neural_architecture_lab.runners import Result, Runner
from tests.neural_architecture_lab.runners.misbehaving import job


def run_with_a_killed_worker(
    runner: Runner, folder: Path, *, trials: int
) -> tuple[list[Result], Counter[int]]:
    """Runs trials of one and a half seconds and kills the first one's worker once two have begun.

    Args:
        runner: Runs two at once.
        folder: Where the trials note that they begin.
        trials: How many.

    Returns:
        The results, and how often each trial began, by its seed.
    """
    notes = folder / "notes"
    jobs = [job(seed, "sleeps", seconds=1.5, notes=str(notes)) for seed in range(trials)]

    def kill() -> None:
        while not notes.exists() or len(notes.read_text("utf-8").splitlines()) < 2:
            time.sleep(0.02)
        worker = int(notes.read_text("utf-8").split()[2])
        os.kill(worker, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    results = list(runner.run(jobs))
    thread.join()
    return results, Counter(int(line.split()[0]) for line in notes.read_text("utf-8").splitlines())
