"""Losses in kernels: mean loss and gradient of a batch, sums over samples, hits.

Outputs are feature-major, ``(outputs, batch)``. What is not finite goes through as in PyTorch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neural_architecture_lab.replicas.powers import less, over, powers_below, times
from structure_net.core.compiling import Template
from structure_net.core.line_sums import room, width
from structure_net.core.simd import (
    add,
    filled,
    given,
    lanes,
    larger,
    load_some,
    longs,
    numbers,
    splat1,
    store,
    store_some,
)


@Template
def _best(y: Any, classes: int, batch: int, at: int) -> int:
    """The class with the largest output, as `torch.argmax` finds it: NaN is above all."""
    best, most = 0, y[at]
    for c in range(1, classes):
        value = y[c * batch + at]
        if value > most or (value != value and most == most):  # noqa: PLR0124 - NaN
            best, most = c, value
    return best


@Template
def _powers(y: Any, dy: Any, sizes: Any, held: Any, empty: Any) -> Any:
    """The powers of e that a line of samples has for each class, over the largest.

    Args:
        y: Outputs.
        dy: Is written: the powers, unless it is none.
        sizes: The classes, the batch, and where in it the line begins.
        held: Is written: their sums, and the largest outputs.
        empty: A line of zeros.
    """
    classes, batch, at = sizes
    count = batch - at
    most, whole = load_some(y, at, empty, count), empty
    for c in range(1, classes):
        most = larger(load_some(y, c * batch + at, empty, count), most)
    for c in range(classes):
        power = powers_below(less(load_some(y, c * batch + at, empty, count), most))
        if given(dy):
            store_some(dy, c * batch + at, power, count)
        whole = add(whole, power)
    store(held, 0, whole)
    store(held, width(empty), most)
    return whole


@Template
def entropy_loss(zero: Any, row: Any, targets: int, order: Any, first: int, batch: int) -> float:
    """The mean cross-entropy of a batch; writes its gradient at the outputs."""
    y, dy, classes = numbers(row[8], zero), numbers(row[10], zero), row[1]
    labels, empty, line, at = longs(targets), splat1(zero), lanes(zero), 0
    share, sums, held = type(zero)(1) / type(zero)(batch), zero, room(empty)
    while at < batch:
        part = over(filled(share, empty), _powers(y, dy, (classes, batch, at), held, empty))
        for c in range(classes):
            some = times(load_some(dy, c * batch + at, empty, batch - at), part)
            store_some(dy, c * batch + at, some, batch - at)
        for b in range(min(line, batch - at)):
            place = labels[order[first + at + b]] * batch + at + b
            dy[place] -= share
            sums += np.log(held[b]) + held[line + b] - y[place]
        at += line
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
    y, classes, labels = numbers(row[8], zero), row[1], longs(targets)
    empty, line, at = splat1(zero), lanes(zero), 0
    held = room(empty)
    while at < batch:
        _powers(y, numbers(0, zero), (classes, batch, at), held, empty)
        for b in range(min(line, batch - at)):
            label, place = labels[at + b], at + b
            found[0] += np.log(held[b]) + held[line + b] - y[label * batch + place]
            found[1] += _best(y, classes, batch, place) == label
        at += line


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
