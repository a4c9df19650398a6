"""Losses in kernels: mean loss and gradient of a batch, sums over samples, hits.

Outputs are feature-major, ``(outputs, batch)``. What is not finite goes through as in PyTorch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from structure_net.core.compiling import Template
from structure_net.core.simd import longs, numbers


@Template
def _peak(y: Any, classes: int, batch: int, at: int) -> tuple[int, Any]:
    """The class with the largest output, as `torch.argmax` finds it: NaN is above all."""
    best, most = 0, y[at]
    for c in range(1, classes):
        value = y[c * batch + at]
        if value > most or (value != value and most == most):  # noqa: PLR0124 - NaN
            best, most = c, value
    return best, most


@Template
def entropy_loss(zero: Any, row: Any, targets: int, order: Any, first: int, batch: int) -> float:
    """The mean cross-entropy of a batch; writes its gradient at the outputs."""
    y, dy, classes = numbers(row[8], zero), numbers(row[10], zero), row[1]
    labels = longs(targets)
    one = type(zero)(1)
    share, sums = one / type(zero)(batch), zero
    for b in range(batch):
        _, most = _peak(y, classes, batch, b)
        whole = zero
        for c in range(classes):
            power = np.exp(y[c * batch + b] - most)
            dy[c * batch + b] = power
            whole += power
        part = share / whole
        for c in range(classes):
            dy[c * batch + b] *= part
        place = labels[order[first + b]] * batch + b
        dy[place] -= share
        sums += np.log(whole) + most - y[place]
    return float(sums * share)


@Template
def squares_loss(zero: Any, row: Any, targets: int, order: Any, first: int, batch: int) -> float:
    """The mean squared error of a batch; writes its gradient at the outputs."""
    y, dy, width = numbers(row[8], zero), numbers(row[10], zero), row[1]
    wanted = numbers(targets, zero)
    share, sums = type(zero)(1) / type(zero)(batch * width), zero
    for b in range(batch):
        start = order[first + b] * width
        for c in range(width):
            off = y[c * batch + b] - wanted[start + c]
            sums += off * off
            dy[c * batch + b] = (share + share) * off
    return float(sums * share)


@Template
def score_entropy(zero: Any, row: Any, targets: int, batch: int, found: Any) -> None:
    """Adds the cross-entropies and the hits of some samples to ``found``."""
    y, classes = numbers(row[8], zero), row[1]
    labels = longs(targets)
    for b in range(batch):
        best, most = _peak(y, classes, batch, b)
        whole = zero
        for c in range(classes):
            whole += np.exp(y[c * batch + b] - most)
        found[0] += np.log(whole) + most - y[labels[b] * batch + b]
        found[1] += best == labels[b]


@Template
def score_squares(zero: Any, row: Any, targets: int, batch: int) -> Any:
    """The sum over some samples of their mean squared errors."""
    y, width = numbers(row[8], zero), row[1]
    wanted = numbers(targets, zero)
    sums = 0.0
    for b in range(batch):
        for c in range(width):
            off = y[c * batch + b] - wanted[b * width + c]
            sums += off * off
    return sums / width
