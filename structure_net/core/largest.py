"""The largest of many numbers, found digit by digit.

Numbers are read as whole ones in the same order, whose leading digits are counted: the last of the
largest begins with digits that as many others lie above as are looked for, and so on with those
that follow. Each digit is one pass over the numbers; nothing is sorted or moved.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from structure_net.core.compiling import Template, compiled_by_type

_DIGIT: Final = 11
"""Bits of a digit: their counts fit into the nearest cache."""

_MANY: Final = 2**16
"""Numbers from which on the largest are looked for among those that a sample suggests."""

_STEP: Final = 64
"""Of so many numbers, one is in the sample."""

_KINDS: Final[dict[str, tuple[type[np.unsignedinteger[Any]], int, int]]] = {
    "float32": (np.uint32, 32, 0x7F800000),
    "float64": (np.uint64, 64, 0x7FF0000000000000),
}


def largest(values: NDArray[np.floating[Any]], count: int) -> NDArray[np.int64]:
    """Where the ``count`` largest numbers stand, ascending; of equals the first ones.

    NaN is larger than infinity, and 0 and -0 are equal.

    Args:
        values: Shape ``(n,)``, of floating point numbers.
        count: From 0 to ``n``.

    Returns:
        Shape ``(count,)``.

    Raises:
        ValueError: ``count`` is out of range.
    """
    if not 0 <= count <= len(values):
        raise ValueError(f"count must be in [0, {len(values)}]; got {count}.")
    likely = _likely(values, count)
    if likely is not None:
        return likely[largest(values[likely], count)]
    infinity, numbers, width = bits_of(values)
    found = np.empty(count, np.int64)
    if count:
        _find(infinity, numbers, width, np.empty(len(values), np.uint64), found)
    return found


def bits_of(
    values: NDArray[np.floating[Any]],
) -> tuple[np.unsignedinteger[Any], NDArray[np.unsignedinteger[Any]], int]:
    """The bits of infinity, those of ``values`` (shape ``(n,)``), and how many a number has."""
    kind = "float64" if values.dtype.itemsize > 4 else "float32"
    bits, width, infinity = _KINDS[kind]
    return bits(infinity), np.ascontiguousarray(values, kind).view(bits), width


def _likely(values: NDArray[np.floating[Any]], count: int) -> NDArray[np.int64] | None:
    """Where the ``count`` largest numbers are, and a few others, ascending; None where to look at
    all costs no more.
    """
    sample = values[::_STEP]
    rank = math.ceil(1.2 * count / _STEP) + 32
    if len(values) < _MANY or 4 * rank > len(sample):
        return None
    bound = np.partition(sample, -rank)[-rank]
    # Of NaN, which numpy takes for the largest, too, nothing is at least as large.
    found = np.flatnonzero(~(values < bound))
    return found if count <= len(found) < len(values) // 2 else None


@compiled_by_type(
    "void(uint32, uint32[::1], int64, uint64[::1], int64[::1])",
    "void(uint64, uint64[::1], int64, uint64[::1], int64[::1])",
)
def _find(infinity: Any, numbers: Any, width: int, keys: Any, found: Any) -> None:
    """Writes to ``found`` where the ``len(found)`` largest stand.

    Args:
        infinity: The bits of infinity.
        numbers: The bits of the numbers. Shape ``(n,)``.
        width: How many bits each has.
        keys: To write on. Shape ``(n,)``.
        found: Is written. Shape ``(count,)``, from 1 to ``n``.
    """
    for place in range(len(numbers)):
        keys[place] = _key(numbers[place], infinity, width)
    counts = np.empty(1 << _DIGIT, np.int64)
    edge, rest, left = np.uint64(0), width, len(found)
    while rest > 0:
        digit = min(_DIGIT, rest)
        high, rest = np.uint64(rest), rest - digit
        low, mask = np.uint64(rest), np.uint64((1 << digit) - 1)
        counts[:] = 0
        for key in keys:
            # Nothing stands above the first digit, and no number can be moved by all its bits.
            if high == np.uint64(width) or key >> high == edge:
                counts[np.int64((key >> low) & mask)] += 1
        here = (1 << digit) - 1
        while counts[here] < left:
            left -= counts[here]
            here -= 1
        edge = (edge << np.uint64(digit)) | np.uint64(here)
    at = 0
    for place in range(len(keys)):
        key = keys[place]
        if key > edge or (key == edge and left > 0):
            left -= 1 if key == edge else 0
            found[at] = place
            at += 1


@Template
def _key(number: Any, infinity: Any, width: int) -> Any:
    """A whole number in the order of the numbers: their size above or below a middle."""
    middle = np.uint64(1) << np.uint64(width - 1)
    size = np.uint64(number) & (middle - np.uint64(1))
    if size > np.uint64(infinity):
        return middle | (np.uint64(infinity) + np.uint64(1))
    if np.uint64(number) >= middle:
        return middle - size
    return middle | size
