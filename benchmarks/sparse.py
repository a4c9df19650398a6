"""What a sparse network's training costs: whole steps against the usual ways, layers, memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch

from benchmarks.harness import Figure, interleaved, now, seconds
from structure_net.core.crossover import set_crossover
from structure_net.core.crossover_measuring import live_step, masked_step
from structure_net.core.device_ways import product_seconds
from structure_net.core.drawing import random_pattern
from structure_net.core.live_index import LiveIndex
from structure_net.runs.benching import (
    FUSED,
    MASKED,
    NETWORKS,
    OURS,
    SPARSEPROP,
    NetworkCost,
    Way,
    network_cost,
    ways,
)

SMALL_NET, MIDDLE, LARGE = NETWORKS
# How many times as fast as the masked way with the default Adam.
GOALS = {(SMALL_NET, 0.01): 5.5, (MIDDLE, 0.01): 20.0, (LARGE, 0.01): 28.0, (MIDDLE, 0.05): 10.0}
# Beside those of the goals: where SparseProp is compared, at most 5 %.
THIN = ((SMALL_NET, 0.05), (LARGE, 0.05), *((widths, 0.001) for widths in NETWORKS))
DENSITIES = (0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 1.0)
BYTES = 30


def _named(widths: Sequence[int]) -> str:
    return "-".join(str(width) for width in widths)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Lets PyTorch use ``count`` threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _over(cost: NetworkCost, way: str, goal: float | None, note: str) -> Figure:
    """The time of a step over that in another way; ``goal`` is a speed."""
    speed = cost.speed(way)
    return Figure(
        f"step of {_named(cost.widths)} at {cost.density:.1%} over {way}",
        1 / speed,
        "x",
        None if goal is None else 1 / goal,
        f"{speed:.1f} times as fast{f', goal {goal:g}' if goal else ''}; {note}",
    )


def _steps(count: int) -> Iterator[Figure]:
    """The networks of the goals, with ``count`` threads."""
    for (widths, density), goal in GOALS.items():
        with threads(count):
            cost = network_cost(widths, density, seconds=2.0, clock=now)
        note = f"{count} thread{'s' * (count > 1)}, batches of 128"
        yield _over(cost, MASKED, goal, note)
        yield _over(cost, FUSED, None, note)
        if SPARSEPROP in cost.seconds:
            yield _over(cost, SPARSEPROP, 2.2, note)


def _thin() -> Iterator[Figure]:
    """SparseProp at the other densities up to 5 %, where it is installed; one thread."""
    if SPARSEPROP not in ways((2, 2), 1.0):
        return
    for widths, density in THIN:
        with threads(1):
            cost = network_cost(widths, density, seconds=1.0, clock=now)
        yield _over(cost, SPARSEPROP, 2.2, "1 thread, batches of 128")


def _on_cuda() -> Iterator[Figure]:
    """The networks of the goals on a GPU, where there is one; and the two products of a layer."""
    if not torch.cuda.is_available():
        return
    note = f"{torch.cuda.get_device_name()}, batches of 128"
    for widths, density in GOALS:
        cost = network_cost(widths, density, seconds=2.0, device="cuda")
        for figure in (_over(cost, MASKED, None, note), _over(cost, FUSED, None, note)):
            yield replace(figure, name=f"CUDA: {figure.name}")
    yield from device_products("cuda", note)


def device_products(device: str, note: str, size: int = 4096) -> Iterator[Figure]:
    """Compressed rows over a dense matrix: forward and backward of a square layer.

    Args:
        device: Where the layer is.
        note: What the figures say of it.
        size: Its inputs and outputs.
    """
    inputs = torch.randn(128, size, device=device)
    for density in (0.001, 0.01, 0.1):
        index = LiveIndex.from_pattern(random_pattern((size, size), round(density * size * size)))
        there = LiveIndex.unchecked([one.to(device) for one in index.tensors], index.shape)
        lasts = product_seconds(inputs, there, torch.float32)
        yield Figure(
            f"{device}: layer of {size} x {size} at {density:.1%}: rows over dense product",
            lasts["rows"] / lasts["dense"],
            "x",
            None,
            f"forward and backward; {note}",
        )


def _worst(count: int) -> Iterator[Figure]:
    """The density at which the storage that is chosen loses most against a dense step, with
    ``count`` threads.
    """
    for widths in NETWORKS:
        with threads(count):
            costs = [network_cost(widths, density, seconds=0.5, clock=now) for density in DENSITIES]
            found = min(costs, key=lambda cost: cost.speed(FUSED))
            # Once more: the largest of several measured ratios is larger than what it measures.
            worst = network_cost(widths, found.density, seconds=2.0, clock=now)
        yield Figure(
            f"slowest of {_named(widths)} at any density over {FUSED}",
            1 / worst.speed(FUSED),
            "x",
            1.05,
            f"at {worst.density:.1%}, {'/'.join(worst.storages)}; densities .1 % to 100 %, "
            f"{count} thread{'s' * (count > 1)}",
        )


def _layer() -> Figure | None:
    """A single layer at 1 % against SparseProp: forward, backward and Adam, steps in a row.

    Inputs and gradients of outputs lie as each of them takes and gives them between layers of its
    own: features first for ours, sample by sample for theirs.
    """
    shape = (1024, 1024)
    theirs = ways(shape, 0.01).get(SPARSEPROP)
    if theirs is None:
        return None
    inputs = torch.randn(128, shape[1], requires_grad=True)
    target = torch.randn(128, shape[0])

    def step() -> None:
        inputs.grad = None
        theirs.optimizer.zero_grad()
        theirs.network(inputs).backward(target)
        theirs.optimizer.step()

    ours = live_step(shape, 0.01)
    times = interleaved(
        {"ours": lambda: _in_a_row(ours), "theirs": lambda: _in_a_row(step)}, repeats=50, warm_ups=5
    )
    return Figure(
        f"layer of 1024 x 1024 at 1 % over {SPARSEPROP}",
        times["ours"] / times["theirs"],
        "x",
        1 / 4,
        f"{times['theirs'] / times['ours']:.1f} times as fast, feature-major input, 1 thread",
    )


def _in_a_row(step: Callable[[], None], count: int = 20) -> float:
    """The time of a step among several in a row, behind one that does not count."""

    def run() -> None:
        for _ in range(count):
            step()

    step()
    return seconds(run) / count


def _memory() -> Iterator[Figure]:
    """Bytes for each live connection, gradients aside, after a step."""
    for name, storage in (("live", "live"), ("masked", "masked")):
        set_crossover("live" if storage == "live" else "masked")
        try:
            way = ways((4096, 4096), 0.01)[OURS]
        finally:
            set_crossover(None)
        way.step(torch.randn(8, 4096), torch.zeros(8, dtype=torch.int64))
        yield Figure(
            f"memory for a live connection, {name} storage",
            _bytes(way) / round(0.01 * 4096 * 4096),
            "bytes",
            BYTES if storage == "live" else None,
            "4096 x 4096 at 1 %: weights, index or masks, and Adam's state",
        )


def _bytes(way: Way) -> int:
    way.optimizer.zero_grad()
    return way.memory()


def _crossovers() -> Iterator[Figure]:
    """Live over masked storage of single layers at some densities."""
    for size, densities in ((256, (0.01, 0.2, 0.5)), (1024, (0.01, 0.2, 0.4))):
        shape = (size, size)
        dense = masked_step(shape, 0.5)
        for density in densities:
            live = live_step(shape, density)
            times = interleaved(
                {"live": partial(seconds, live), "masked": partial(seconds, dense)}, repeats=20
            )
            yield Figure(
                f"layer of {size} x {size} at {density:.0%}: live over masked storage",
                times["live"] / times["masked"],
                "x",
                None,
                "forward, backward, Adam; 1 thread, batches of 128",
            )


def figures() -> list[Figure]:
    """Whole steps and the worst density with one thread and two, a layer, memory."""
    layer = _layer()
    return [
        *_steps(1),
        *_steps(2),
        *_thin(),
        *([] if layer is None else [layer]),
        *_crossovers(),
        *_on_cuda(),
        *_worst(1),
        *_worst(2),
        *_memory(),
    ]
