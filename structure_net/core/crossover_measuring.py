"""The measurement behind the choice of a storage: training steps of single layers, timed.

Each layer is timed as it runs in a network: forward, both products of the backward pass and a step
of Adam, in batches of 128. All layers take turns, so that what else the machine does hits all of
them, and the fastest turn of each counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.core.drawing import random_pattern
from structure_net.core.layer_costs import LayerCosts
from structure_net.core.masking import GradientMask
from structure_net.core.optimizers import Adam
from structure_net.core.products import LiveIndex, sparse_linear

Step = Callable[[], None]

BATCH: Final = 128
_MASKED: Final = (64, 256, 1024, 2048)
_THIN: Final = ((10, 54), (10, 1014), (10, 4086))
# Units of a square layer, and the densities between which its cost is taken to be linear.
_LIVE: Final = (
    (64, 0.05, 0.4),
    (256, 0.02, 0.4),
    (1024, 0.005, 0.25),
    (4096, 0.0005, 0.02),
)
_TURNS: Final = 9
_PATIENCE: Final = 0.01
"""Seconds that a layer's turn lasts, or one step where that takes longer."""


def masked_step(shape: tuple[int, int], density: float, *, feature_major: bool = False) -> Step:
    """One training step of a layer in masked storage.

    Args:
        shape: The numbers of outputs and of inputs.
        density: The fraction of connections that exist.
        feature_major: Whether the inputs lie as a layer in live storage writes them.
    """
    generator = torch.Generator().manual_seed(0)
    pattern = random_pattern(shape, round(density * shape[0] * shape[1]), generator)
    mask, gradient_mask = pattern.mask(), GradientMask()
    weight = nn.Parameter(torch.randn(shape, generator=generator) * mask)
    bias = nn.Parameter(torch.zeros(shape[0]))
    inputs = torch.randn(BATCH, shape[1], generator=generator)
    inputs = (inputs.t().contiguous().t() if feature_major else inputs).requires_grad_()
    target = torch.randn(BATCH, shape[0], generator=generator)

    def product() -> Tensor:
        return F.linear(inputs, gradient_mask.over(weight, mask, single=True), bias)

    return _step(product, inputs, target, [weight, bias])


def live_step(shape: tuple[int, int], density: float) -> Step:
    """One training step of a layer in live storage, whose neighbours are in it, too.

    Args:
        shape: The numbers of outputs and of inputs.
        density: The fraction of connections that exist.
    """
    generator = torch.Generator().manual_seed(0)
    count = max(1, round(density * shape[0] * shape[1]))
    index = LiveIndex.from_pattern(random_pattern(shape, count, generator))
    values = nn.Parameter(torch.randn(count, generator=generator))
    bias = nn.Parameter(torch.zeros(shape[0]))
    inputs = torch.randn(shape[1], BATCH, generator=generator).t().requires_grad_()
    target = torch.randn(shape[0], BATCH, generator=generator).t()
    return _step(lambda: sparse_linear(inputs, values, bias, index), inputs, target, [values, bias])


def _step(
    product: Callable[[], Tensor], inputs: Tensor, target: Tensor, held: list[nn.Parameter]
) -> Step:
    optimizer = Adam(held, lr=1e-3)

    def step() -> None:
        inputs.grad = None
        optimizer.zero_grad()
        product().backward(target)
        optimizer.step()

    return step


def measured_costs() -> LayerCosts:
    """Times the layers and fits the costs; takes one or two seconds once kernels are compiled."""
    masked = [masked_step((size, size), 0.5) for size in _MASKED]
    thin = [masked_step(shape, 0.5, feature_major=True) for shape in _THIN]
    live = [live_step((size, size), density) for size, *both in _LIVE for density in both]
    seconds = iter(_fastest([*masked, *thin, *live]))
    return LayerCosts(
        tuple((float(size * size), next(seconds)) for size in _MASKED),
        tuple((float(sum(shape)), next(seconds)) for shape in _THIN),
        tuple(
            _fitted(size, (low, next(seconds)), (high, next(seconds))) for size, low, high in _LIVE
        ),
    )


def _fitted(
    size: int, low: tuple[float, float], high: tuple[float, float]
) -> tuple[float, float, float]:
    """Units, the cost without connections and the cost of each, from two densities."""
    places = size * size
    each = max((high[1] - low[1]) / ((high[0] - low[0]) * places), 1e-12)
    base = max(low[1] - each * low[0] * places, low[1] / 10)
    return 2.0 * size, base, each


def _fastest(steps: list[Step]) -> list[float]:
    """The seconds of each step in its fastest turn."""
    for step in steps:
        step()
    counts = [max(1, min(100, int(_PATIENCE / _timed(step, 1)))) for step in steps]
    turns = [
        [_timed(step, count) for step, count in zip(steps, counts, strict=True)]
        for _ in range(_TURNS)
    ]
    return [min(turn) for turn in zip(*turns, strict=True)]


def _timed(step: Step, count: int) -> float:
    # With one thread all work is the caller's own, so that what others do to the machine can be
    # left out.
    now = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    start = now()
    for _ in range(count):
        step()
    return (now() - start) / count
