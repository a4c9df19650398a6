"""The command ``structure-net evolve`` against the masked-dense build of the same command."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.harness import Figure
from structure_net.data import load_dataset
from structure_net.errors import DatasetError

ARGUMENTS = (
    *("evolve", "--dataset", "mnist", "--architecture", "784,256,128,10", "--density", "0.02"),
    *("--iterations", "2", "--epochs", "3", "--batch-size", "128"),
)
SPARSE = "import sys; from structure_net.cli import main; sys.exit(main(sys.argv[1:]))"
MASKED = f"""
import torch
from structure_net.evolution.components.trainers import standard

standard.adam_for = lambda parameters, rate, **_: torch.optim.Adam(list(parameters), lr=rate)
{SPARSE}
"""
"""Weights times a mask, and PyTorch's default Adam, as papers on sparse training have them."""

PAIRS = 3


def run(program: str, storage: str, out: Path) -> float:
    """The seconds of the whole command in a process of its own, on one thread."""
    environment = {**os.environ, "STRUCTURE_NET_STORAGE": storage, "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", program, *ARGUMENTS, "--out", str(out)],
        env=environment,
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - start


def figures() -> list[Figure]:
    """Both in turn, after one that compiles; nothing where STRUCTURE_NET_DATA holds no MNIST."""
    try:
        load_dataset("mnist")
    except DatasetError:
        return []
    with tempfile.TemporaryDirectory() as folder:
        run(SPARSE, "auto", Path(folder) / "first")
        rounds = [
            (
                run(SPARSE, "auto", Path(folder) / f"sparse-{place}"),
                run(MASKED, "masked", Path(folder) / f"masked-{place}"),
            )
            for place in range(PAIRS)
        ]
    ratios = ", ".join(f"{masked / sparse:.2f}" for sparse, masked in rounds)
    return [
        Figure(
            "structure-net evolve over its masked-dense build with default Adam",
            statistics.median(sparse / masked for sparse, masked in rounds),
            "x",
            None,
            f"MNIST, 784-256-128-10 born at 2 %, whole commands: {ratios} times as fast; 1 thread",
        ),
        Figure("the sparse command", statistics.median(s for s, _ in rounds), "s", None, ""),
        Figure("the masked-dense command", statistics.median(m for _, m in rounds), "s", None, ""),
    ]
