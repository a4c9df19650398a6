"""What a profiler costs: when it is on, and when it is off."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice, repeat
from statistics import median
from time import perf_counter, process_time, thread_time
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.harness import Figure, Ratio, ratio_of
from structure_net import create_standard_network
from structure_net.core.sections import Sections, listened_by, section
from structure_net.data import TensorBatches
from structure_net.evolution import NetworkContext
from structure_net.evolution.components import StandardNetworkTrainer
from structure_net.logging.profiling import Profiler

ARCHITECTURE, DENSITY, BATCH = [784, 256, 128, 10], 0.02, 128
SMALL = [64, 32, 10]
STEPS, BLOCKS = 4, 4800
SECTIONS_A_STEP = 5


class _Flipping:
    """Batches; every few steps the profiler begins to listen, or ceases to.

    Args:
        features: Inputs of a sample.
        profiler: Which profiler.
        never: Whether nobody ever listens, for comparison.
    """

    def __init__(self, features: int, profiler: Profiler, *, never: bool = False) -> None:
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(100 * BATCH, features, generator=generator)
        targets = torch.randint(10, (100 * BATCH,), generator=generator)
        self._batches = TensorBatches(inputs, targets, BATCH, shuffle=True)
        self._profiler, self._never = profiler, never
        draw = random.Random(0)
        # Which of a pair comes first is drawn: whatever comes back in a rhythm hits both alike.
        firsts = [draw.random() < 0.5 for _ in range(BLOCKS // 2 + 1)]
        self._on = [one for first in firsts for one in (first, not first)]
        self.times: list[float] = []

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        found = chain.from_iterable(repeat(self._batches))
        for on in self._on:
            listens = on and not self._never
            with listened_by(cast("Sections", self._profiler if listens else None)):
                start = thread_time()
                yield from islice(found, STEPS)
                self.times.append(thread_time() - start)

    def __len__(self) -> int:
        return STEPS * len(self._on)

    def ratio(self) -> Ratio:
        """The time of blocks with a listener over that of their neighbours without."""
        blocks = list(zip(self._on, self.times, strict=True))[2:]  # the first two warm up
        pairs = zip(blocks[::2], blocks[1::2], strict=True)
        return ratio_of([a / b if on else b / a for (on, a), (_, b) in pairs])


def pair(widths: list[int], density: float) -> tuple[Ratio, Ratio, float, float]:
    """Steps with a profiler over steps without; steps without over themselves.

    The main thread's processor time counts, block by block within one run.

    Returns:
        Both ratios, the seconds of a step, and what the profiler's own thread takes of the time.
    """
    network = create_standard_network(widths, density=density, seed=0)
    trainer = StandardNetworkTrainer(epochs=1, learning_rate=1e-3)
    ratios = []
    for never in (False, True):
        with Profiler() as profiler:
            batches = _Flipping(widths[0], profiler, never=never)
            start = process_time(), thread_time()
            trainer.train(NetworkContext(network, batches, loss=F.cross_entropy))
            whole, own = process_time() - start[0], thread_time() - start[1]
        ratios.append(batches.ratio())
    return ratios[0], ratios[1], median(batches.times) / STEPS, (whole - own) / own


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
    large, noise, step, watch = pair(ARCHITECTURE, DENSITY)
    small, _, least, _ = pair(SMALL, 1.0)
    off = SECTIONS_A_STEP * idle()
    beside = f"; its thread's {100 * watch:.2f} % included"
    return [
        _shown("profiling 784-256-128-10", large, beside, goal=2.0, more=watch),
        _shown("the same without a profiler: noise", noise),
        _shown("profiling 64-32-10, a step as small as they come", small),
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


def _shown(
    name: str, ratio: Ratio, how: str = "", *, goal: float | None = None, more: float = 0.0
) -> Figure:
    ratio = replace(ratio, low=ratio.low + more, high=ratio.high + more)
    note = ratio.percent(f" of {STEPS} steps side by side in one run, processor time{how}")
    return Figure(name, 100 * (ratio.median - 1 + more), "%", goal, note)
