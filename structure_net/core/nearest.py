"""The numbers nearest to 0 on either side of it, found digit by digit.

As `structure_net.core.largest` does, with both signs in the same passes: those of a trained weight
follow no order, so that nothing branches on them.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from structure_net.core.compiling import Template, compiled_by_type
from structure_net.core.largest import bits_of

_DIGIT: Final = 11
"""Bits of a digit: the counts of both sides fit into the nearest cache."""


def nearest_zero(values: NDArray[np.floating[Any]], share: float) -> NDArray[np.int64]:
    """Where the smallest numbers from 0 on and the largest below 0 stand, ascending.

    Of equals the first ones; -0 is 0, and NaN is neither.

    Args:
        values: Shape ``(n,)``, of floating point numbers.
        share: How many of either side, in [0, 1]: rounded to a whole number as Python does.

    Returns:
        Shape ``(count,)``.

    Raises:
        ValueError: ``share`` is out of range.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be in [0, 1]; got {share}.")
    left = [round(share * np.count_nonzero(side)) for side in (values >= 0, values < 0)]
    found = np.empty(sum(left), np.int64)
    _nearest(*bits_of(values), np.array(left), found)
    return found


@compiled_by_type(
    "void(uint32, uint32[::1], int64, int64[::1], int64[::1])",
    "void(uint64, uint64[::1], int64, int64[::1], int64[::1])",
)
def _nearest(infinity: Any, numbers: Any, width: int, left: Any, found: Any) -> None:
    """Writes to ``found`` where the numbers nearest to 0 stand, so many on either side.

    Args:
        infinity: The bits of infinity.
        numbers: The bits of the numbers. Shape ``(n,)``.
        width: How many bits each has.
        left: How many are looked for from 0 on, and below; is written. Shape ``(2,)``.
        found: Is written. Shape ``(count,)``.
    """
    counts, edges = np.zeros((2, 1 << _DIGIT), np.int64), np.zeros(2, np.uint64)
    low = np.uint64(width - 1 - _DIGIT)
    for number in numbers:
        size, side = _apart(number, width)
        counts[side, size >> low] += np.int64(size <= np.uint64(infinity))
    _narrowed(counts, left, edges, _DIGIT)
    # Those that begin with smaller digits are in; those that begin with the same are looked at on.
    taken, open_ = np.empty(len(numbers), np.uint8), np.empty(len(numbers), np.int64)
    several = np.uint64(0)
    for place in range(len(numbers)):
        size, side = _apart(numbers[place], width)
        taken[place] = np.uint8(size >> low < edges[side])
        open_[several] = place
        several += np.uint64(size >> low == edges[side])
    rest = width - 1 - _DIGIT
    while rest > 0:
        digit = min(_DIGIT, rest)
        high, rest = np.uint64(rest), rest - digit
        low, mask = np.uint64(rest), np.uint64((1 << digit) - 1)
        counts[:] = 0
        for place in open_[:several]:
            size, side = _apart(numbers[place], width)
            same = size >> high == edges[side] and size <= np.uint64(infinity)
            counts[side, (size >> low) & mask] += np.int64(same)
        _narrowed(counts, left, edges, digit)
    for place in open_[:several]:
        size, side = _apart(numbers[place], width)
        if size < edges[side] or (size == edges[side] and left[side] > 0):
            left[side] -= np.int64(size == edges[side])
            taken[place] = 1
    at, end = np.uint64(0), np.uint64(len(found))
    for place in range(len(numbers)):
        if at == end:
            break
        found[at] = place
        at += np.uint64(taken[place])


@Template
def _apart(number: Any, width: int) -> Any:
    """The bits of a number's size, and on which side of 0 it lies: 1 below."""
    sign = np.uint64(width - 1)
    size = np.uint64(number) & ((np.uint64(1) << sign) - np.uint64(1))
    return size, (np.uint64(number) >> sign) & np.uint64(size != np.uint64(0))


@Template
def _narrowed(counts: Any, left: Any, edges: Any, digit: int) -> None:
    """Adds a digit to the size of the last one that is looked for, on either side."""
    for side in range(2):
        here = 0
        while counts[side, here] < left[side]:
            left[side] -= counts[side, here]
            here += 1
        edges[side] = (edges[side] << np.uint64(digit)) | np.uint64(here)
