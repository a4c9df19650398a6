"""Sums and extrema of each unit of an activation, in one pass, as compiled loops.

For each unit six numbers: the sum, the sum of squares, how many values are above 0, the sum of
magnitudes, the least and the largest value. So many lines of values are summed in their own type,
and those sums in float64.

Both kernels take ``(zero, tensors, shape, found)``:

- ``zero``: zeros of the type of the values and of float64;
- ``tensors``: the address of the values, and how far they lie apart along two axes;
- ``shape``: how many there are along each axis;
- ``found``: the addresses of ``(6, units)`` float64 that the values are taken into, of ``(2,
  units)`` float64 where their own sums and sums of squares are written, and of 6 lines.

Callers answer for sizes: nothing is checked here.
"""

from __future__ import annotations

from typing import Any, Final

from structure_net.core.compiling import Template, compiled_by_type
from structure_net.core.simd import (
    add,
    add_sizes,
    add_squares,
    count_above,
    filled,
    lanes,
    larger,
    largest,
    load,
    load_some,
    numbers,
    smaller,
    smallest,
    splat1,
    store,
    total,
)

Addresses = tuple[int, ...]

_LONGEST: Final = 256
"""Lines that are summed in the type of the values."""


@compiled_by_type(
    "void(float32, float64, UniTuple(int64, 3), UniTuple(int64, 3), UniTuple(int64, 3))",
    "void(float64, float64, UniTuple(int64, 3), UniTuple(int64, 3), UniTuple(int64, 3))",
)
def sum_runs(
    zero: Any, wide: float, tensors: Addresses, shape: Addresses, found: Addresses
) -> None:
    """Units whose values lie together, in runs.

    Args:
        zero: See above, as for ``wide`` and ``found``.
        wide: The zero of float64.
        tensors: The address, and how far runs and units lie apart.
        shape: The numbers of runs, of units, and of values in a run.
        found: See above.
    """
    values, units, length = numbers(tensors[0], zero), shape[1], shape[2]
    running, own, line = numbers(found[0], wide), numbers(found[1], wide), lanes(zero)
    whole = length - length % line
    for unit in range(units):
        sums = (wide, wide, wide, wide)
        least = most = values[unit * tensors[2]]
        lows = highs = filled(least, splat1(zero))
        a, b, c, d = splat1(zero), splat1(zero), splat1(zero), splat1(zero)
        waiting = 0
        for run in range(shape[0]):
            start = run * tensors[1] + unit * tensors[2]
            for at in range(start, start + whole, line):
                block = load(values, at, splat1(zero))
                a, b = add(block, a), add_squares(block, b)
                c, d = count_above(block, c), add_sizes(block, d)
                lows, highs = smaller(block, lows), larger(block, highs)
                waiting += 1
                if waiting == _LONGEST:
                    sums = _carried(sums, a, b, c, d)
                    a, b, c, d = splat1(zero), splat1(zero), splat1(zero), splat1(zero)
                    waiting = 0
            for at in range(start + whole, start + length):
                value = values[at]
                sums = (
                    sums[0] + value,
                    sums[1] + (wide + value) * value,
                    sums[2] + (1.0 if value > 0 else 0.0),
                    sums[3] + abs(value),
                )
                least, most = min(least, value), max(most, value)
        sums = _carried(sums, a, b, c, d)
        least, most = min(least, smallest(lows)), max(most, largest(highs))
        for part in range(4):
            running[part * units + unit] += sums[part]
        running[4 * units + unit] = min(running[4 * units + unit], wide + least)
        running[5 * units + unit] = max(running[5 * units + unit], wide + most)
        own[unit], own[units + unit] = sums[0], sums[1]


@compiled_by_type(
    "void(float32, float64, UniTuple(int64, 3), UniTuple(int64, 3), UniTuple(int64, 3))",
    "void(float64, float64, UniTuple(int64, 3), UniTuple(int64, 3), UniTuple(int64, 3))",
)
def sum_rows(
    zero: Any, wide: float, tensors: Addresses, shape: Addresses, found: Addresses
) -> None:
    """Units that lie side by side, in rows.

    Args:
        zero: See above, as for ``wide`` and ``found``.
        wide: The zero of float64.
        tensors: The address, and how far rows lie apart; the last is not read.
        shape: The numbers of rows and of units; the last is not read.
        found: See above.
    """
    values, rows, units = numbers(tensors[0], zero), shape[0], shape[1]
    running, own = numbers(found[0], wide), numbers(found[1], wide)
    held, line = numbers(found[2], zero), lanes(zero)
    for unit in range(2 * units):
        own[unit] = wide
    for start in range(0, units, line):
        count = min(line, units - start)
        lows = highs = _read(values, start, count, line, splat1(zero))
        for first in range(0, rows, _LONGEST):
            a, b, c, d = splat1(zero), splat1(zero), splat1(zero), splat1(zero)
            for row in range(first, min(first + _LONGEST, rows)):
                block = _read(values, row * tensors[1] + start, count, line, splat1(zero))
                a, b = add(block, a), add_squares(block, b)
                c, d = count_above(block, c), add_sizes(block, d)
                lows, highs = smaller(block, lows), larger(block, highs)
            store(held, 0, a)
            store(held, line, b)
            store(held, 2 * line, c)
            store(held, 3 * line, d)
            for lane in range(count):
                for part in range(4):
                    running[part * units + start + lane] += held[part * line + lane]
                for part in range(2):
                    own[part * units + start + lane] += held[part * line + lane]
        store(held, 4 * line, lows)
        store(held, 5 * line, highs)
        for unit in range(count):
            low, high = 4 * units + start + unit, 5 * units + start + unit
            running[low] = min(running[low], wide + held[4 * line + unit])
            running[high] = max(running[high], wide + held[5 * line + unit])


@Template
def _read(values, at, count, line, like):  # type: ignore[no-untyped-def]  # types of the caller
    """A line, or its first ``count`` lanes."""
    if count == line:
        return load(values, at, like)
    return load_some(values, at, like, count)


@Template
def _carried(sums, a, b, c, d):  # type: ignore[no-untyped-def]  # types of the caller
    """``sums`` with those of four lines."""
    return (sums[0] + total(a), sums[1] + total(b), sums[2] + total(c), sums[3] + total(d))
