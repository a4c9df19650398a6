"""The mean slope of the activation that a unit stands behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor

from structure_net.evolution.activations import Activation
from structure_net.evolution.reductions.values import Values, by_unit

_SLOPES: Final[Mapping[str, Callable[[Tensor], Tensor]]] = {
    "tanh": lambda y: 1 - y.square(),
    "sigmoid": lambda y: 4 * y * (1 - y),
    "expit": lambda y: 4 * y * (1 - y),
    "softsign": lambda y: (1 - y.abs()).square(),
    "hardsigmoid": lambda y: ((y > 0) & (y < 1)).to(y),
}
"""The derivative from the output, relative to the largest."""


def has_slope(activation: Activation | None) -> bool:
    """Whether `total_slope` can say something of units behind ``activation``."""
    if activation is None:
        return False
    return activation.bounds is not None or activation.is_smooth or activation.name in _SLOPES


def total_slope(values: Values) -> Tensor | None:
    """The sum of the slopes over all values; None where there is none to be had.

    Returns:
        Shape ``(C,)``: of a bounded activation the derivative relative to its largest, of a smooth
        rectifier the absolute derivative.
    """
    activation = values.activation
    if activation is None:
        return None
    if activation.is_smooth:
        return _smooth(values, activation)
    block, over = values.block()
    if activation.bounds is not None:
        slope = _within(block, activation.bounds, values.tensor.dtype)
    elif activation.name in _SLOPES:
        slope = _SLOPES[activation.name](block)
    else:
        return None
    return slope.sum(over)


def _smooth(values: Values, activation: Activation) -> Tensor | None:
    taken = values.before
    if taken is None or activation.again is None or taken.shape != values.tensor.shape:
        return None
    with torch.enable_grad():
        point = taken.detach().requires_grad_()
        (slope,) = torch.autograd.grad(activation.again(point).sum(), point)
    block, over = by_unit(slope, values.axis)
    return block.abs().sum(over)


def _within(block: Tensor, bounds: tuple[float, float], dtype: torch.dtype) -> Tensor:
    """1 where an output that was computed in ``dtype``, which rounds the bounds, is within them."""
    low, high = torch.tensor(bounds, dtype=dtype, device=block.device).to(block.dtype).unbind()
    within = block < high
    if bounds[0] != 0:
        within &= block > low
    return within.to(block)
