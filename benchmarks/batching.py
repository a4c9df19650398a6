"""Batches in memory against PyTorch's DataLoader."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.harness import Figure, interleaved, seconds
from structure_net.data import TensorBatches

SAMPLES, FEATURES, BATCH = 60_000, 784, 128


def _epoch(batches: Iterable[object]) -> float:
    def run() -> None:
        for _ in batches:
            pass

    return seconds(run)


def figures() -> list[Figure]:
    """One shuffled epoch of a set of MNIST's size, without any training."""
    inputs = torch.randn(SAMPLES, FEATURES)
    targets = torch.randint(10, (SAMPLES,))
    ours = TensorBatches(inputs, targets, BATCH, shuffle=True)
    theirs = DataLoader(TensorDataset(inputs, targets), batch_size=BATCH, shuffle=True)
    times = interleaved(
        {
            "ours": lambda: _epoch(ours),
            "theirs": lambda: _epoch(theirs),
        },
        repeats=5,
    )
    how = f"{SAMPLES} x {FEATURES}, shuffled, batches of {BATCH}, no workers"
    return [
        Figure("TensorBatches over DataLoader", times["ours"] / times["theirs"], "x", None, how),
        Figure("an epoch of TensorBatches", 1e3 * times["ours"], "ms", None, how),
    ]
