"""What a profiler costs: when it is on, and when it is off."""

from __future__ import annotations

from time import perf_counter

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.harness import Figure, now
from structure_net import create_standard_network
from structure_net.core.sections import section
from structure_net.data import TensorBatches
from structure_net.evolution import ComposableEvolutionSystem, NetworkContext
from structure_net.evolution.components import StandardNetworkTrainer

ARCHITECTURE, DENSITY, BATCH, SAMPLES = [784, 256, 128, 10], 0.02, 128, 12_800
SMALL = [64, 32, 10]
ROUNDS, EPOCHS = 9, 4
SECTIONS_A_STEP = 6
_HOW = "fastest of {rounds} interleaved turns, 400 steps of {batch} samples each"


def _data(features: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(SAMPLES, features, generator=generator)
    return inputs, torch.randint(10, (SAMPLES,), generator=generator)


def pair(widths: list[int], density: float) -> tuple[float, float, float]:
    """How long training takes with a profiler, and without once more, over without; its step."""
    inputs, targets = _data(widths[0])
    network = create_standard_network(widths, density=density, seed=0)
    context = NetworkContext(
        network, TensorBatches(inputs, targets, BATCH, shuffle=True), loss=F.cross_entropy
    )
    system = ComposableEvolutionSystem([StandardNetworkTrainer(epochs=EPOCHS, learning_rate=1e-3)])
    turns: dict[str, list[float]] = {"off": [], "on": [], "again": []}
    for turn in range(ROUNDS + 1):
        for name in list(turns)[:: 1 if turn % 2 else -1]:
            start = now()
            system.evolve_network(context, 1, profile=name == "on")
            turns[name].append(now() - start)
    # Other work only adds time, so that the fastest turn tells most of the work itself.
    least = {name: min(times[1:]) for name, times in turns.items()}
    step = least["off"] / (EPOCHS * SAMPLES / BATCH)
    return least["on"] / least["off"], least["again"] / least["off"], step


def idle() -> float:
    """Seconds of a section to which nobody listens."""
    times, count = [], 20_000
    for _ in range(7):
        start = perf_counter()
        for _ in range(count):
            with section("forward"):
                pass
        marked = perf_counter() - start
        start = perf_counter()
        for _ in range(count):
            pass
        times.append((marked - (perf_counter() - start)) / count)
    return min(times)


def figures() -> list[Figure]:
    """Overheads of a profiled epoch, and of the marks where there is no profiler."""
    how = _HOW.format(rounds=ROUNDS, batch=BATCH)
    large, noise, step = pair(ARCHITECTURE, DENSITY)
    small, _, least = pair(SMALL, 1.0)
    off = SECTIONS_A_STEP * idle()
    return [
        Figure("profiling 784-256-128-10", 100 * (large - 1), "%", 2.0, how),
        Figure("the same without a profiler again: noise", 100 * (noise - 1), "%", None, how),
        Figure(
            "profiling 64-32-10, a step as small as they come", 100 * (small - 1), "%", None, how
        ),
        Figure(
            "marks without a profiler, 784-256-128-10",
            100 * off / step,
            "%",
            0.5,
            f"{SECTIONS_A_STEP} sections a step of {1000 * step:.2f} ms",
        ),
        Figure(
            "marks without a profiler, 64-32-10",
            100 * off / least,
            "%",
            None,
            f"{SECTIONS_A_STEP} sections a step of {1000 * least:.3f} ms",
        ),
    ]
