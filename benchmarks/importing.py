"""What the imports of both packages cost beyond torch."""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks.harness import Figure

PROGRAM = "import time, torch; s = time.perf_counter(); import {0}; print(time.perf_counter() - s)"
FLOORS = (
    "structure_net",
    "structure_net.evolution.components",
    "structure_net.cli",
    "neural_architecture_lab",
)


def imported(name: str) -> float:
    """Seconds of one import in a fresh process in which torch is loaded."""
    command = [sys.executable, "-c", PROGRAM.format(name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def figures() -> list[Figure]:
    """The median of five fresh processes for each floor."""
    rounds = [{name: imported(name) for name in FLOORS} for _ in range(6)][1:]
    goals = {"structure_net": 0.1, "neural_architecture_lab": 0.5}
    return [
        Figure(
            f"import {name}",
            statistics.median(one[name] for one in rounds),
            "s",
            goals.get(name),
            "beyond torch, in a fresh process",
        )
        for name in FLOORS
    ]
