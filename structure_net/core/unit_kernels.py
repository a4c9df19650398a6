"""Sums and extrema of each unit of an activation, in one pass, as compiled loops.

For each unit six numbers: the sum, the sum of squares, how many values are above 0, the sum of
magnitudes, the least and the largest value. So many lines of values are summed in their own type,
and those sums in float64. Values that lie the same way give the same bits, whichever kernel reads
them.

Both kernels begin with ``(zero, wide, tensors, shape)``:

- ``zero``, ``wide``: zeros of the type of the values and of float64;
- ``tensors``: the addresses of the values, and of ``(6, units)`` float64 that is written;
- ``shape``: how many there are along each axis.

Callers answer for sizes: nothing is checked here.
"""

from __future__ import annotations

from typing import Any, Final

from structure_net.core.compiling import Template, compiled_by_type
from structure_net.core.line_sums import least_of, most_of, room, sums_of
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
    longs,
    numbers,
    smaller,
    smallest,
    splat1,
    store,
    total,
)

Addresses = tuple[int, ...]

LONGEST: Final = 256
"""Lines that are summed in the type of the values."""

_ROWS: Final = 16
"""Rows that are read side by side: as many streams as the processor reads ahead of."""


@compiled_by_type(
    "void(float32, float64, UniTuple(int64, 2), UniTuple(int64, 3), UniTuple(int64, 2),"
    " UniTuple(int64, 2))",
    "void(float64, float64, UniTuple(int64, 2), UniTuple(int64, 3), UniTuple(int64, 2),"
    " UniTuple(int64, 2))",
)
def sum_runs(
    zero: Any, wide: float, tensors: Addresses, shape: Addresses, steps: Addresses, block: Addresses
) -> None:
    """Units whose values lie together, in runs.

    Args:
        zero: See above, as for ``wide`` and ``tensors``.
        wide: The zero of float64.
        tensors: See above.
        shape: The numbers of runs, of units, and of values in a run; none is 0.
        steps: How far runs and units lie apart.
        block: The first unit, and the one behind the last.
    """
    values, found = numbers(tensors[0], zero), numbers(tensors[1], wide)
    units, length, line = shape[1], shape[2], lanes(zero)
    whole = length - length % line
    for unit in range(block[0], block[1]):
        sums = (wide, wide, wide, wide)
        least = most = values[unit * steps[1]]
        lows = highs = filled(least, splat1(zero))
        a, b, c, d = splat1(zero), splat1(zero), splat1(zero), splat1(zero)
        waiting = 0
        for run in range(shape[0]):
            start = run * steps[0] + unit * steps[1]
            for at in range(start, start + length, line):
                if waiting == LONGEST:
                    sums = _carried(sums, a, b, c, d)
                    a, b, c, d = splat1(zero), splat1(zero), splat1(zero), splat1(zero)
                    waiting = 0
                waiting += 1
                if at < start + whole:
                    some = load(values, at, splat1(zero))
                    lows, highs = smaller(some, lows), larger(some, highs)
                else:
                    some = load_some(values, at, splat1(zero), length - whole)
                a, b = add(some, a), add_squares(some, b)
                c, d = count_above(some, c), add_sizes(some, d)
            for at in range(start + whole, start + length):
                least, most = min(least, values[at]), max(most, values[at])
        sums = _carried(sums, a, b, c, d)
        for part in range(4):
            found[part * units + unit] = sums[part]
        found[4 * units + unit] = wide + min(least, smallest(lows))
        found[5 * units + unit] = wide + max(most, largest(highs))


@compiled_by_type(
    "void(float32, float64, UniTuple(int64, 2), UniTuple(int64, 2), UniTuple(int64, 3))",
    "void(float64, float64, UniTuple(int64, 2), UniTuple(int64, 2), UniTuple(int64, 3))",
)
def take_in(zero: Any, wide: float, tensors: Addresses, shape: Addresses, block: Addresses) -> None:
    """Adds values of units, which lie together, to the sums that stand there.

    Args:
        zero: See above, as for ``wide``.
        wide: The zero of float64.
        tensors: See above; sums are there already.
        shape: The numbers of units, and of values of each: at most `LONGEST` lines.
        block: The first unit, the one behind the last, and how many of the six numbers are wanted:
            2, the sum and the sum of squares, or 6.
    """
    values, found = numbers(tensors[0], zero), numbers(tensors[1], wide)
    first = block[0]
    while first < block[1]:
        place = (first, min(lanes(zero), block[1] - first), shape[0], shape[1])
        if block[2] == 2:
            _add_moments(values, found, place, zero, wide)
        else:
            _add_all(values, found, place, zero, wide)
        first += lanes(zero)


@compiled_by_type(
    "void(float32, float64, UniTuple(int64, 2), UniTuple(int64, 2), UniTuple(int64, 2))",
    "void(float64, float64, UniTuple(int64, 2), UniTuple(int64, 2), UniTuple(int64, 2))",
)
def take_in_rows(
    zero: Any, wide: float, tensors: Addresses, shape: Addresses, block: Addresses
) -> None:
    """Adds values of units that lie side by side to the first two sums that stand there.

    Args:
        zero: See above, as for ``wide``.
        wide: The zero of float64.
        tensors: See above; sums are there already.
        shape: The numbers of rows, which lie without gaps, and of units.
        block: The first unit, and the one behind the last.
    """
    values, found = numbers(tensors[0], zero), numbers(tensors[1], wide)
    rows, units, line, like = shape[0], shape[1], lanes(zero), splat1(zero)
    held, totals, squares = room(like), room(splat1(wide)), room(splat1(wide))
    for start in range(block[0], block[1], line):
        count = min(line, block[1] - start)
        for one in range(count):
            totals[one] = squares[one] = wide
        for first in range(0, rows, LONGEST):
            a, b = splat1(zero), splat1(zero)
            for row in range(first, min(first + LONGEST, rows)):
                some = _read(values, row * units + start, count, line, like)
                a, b = add(some, a), add_squares(some, b)
            store(held, 0, a)
            store(held, line, b)
            for one in range(count):
                totals[one] += held[one]
                squares[one] += held[line + one]
        for one in range(count):
            found[start + one] += totals[one]
            found[units + start + one] += squares[one]


@Template
def _add_moments(values, found, place, zero, wide):  # type: ignore[no-untyped-def]  # types of the caller
    """`take_in` of as many units as a line has lanes, or fewer: two numbers."""
    first, count, units, length = place
    line, like = lanes(zero), splat1(zero)
    whole, totals, squares = length - length % line, room(like), room(like)
    for one in range(count):
        start = (first + one) * length
        a, b = splat1(zero), splat1(zero)
        for at in range(start, start + whole, line):
            some = load(values, at, like)
            a, b = add(some, a), add_squares(some, b)
        if whole < length:
            some = load_some(values, start + whole, like, length - whole)
            a, b = add(some, a), add_squares(some, b)
        store(totals, one * line, a)
        store(squares, one * line, b)
    store(totals, 0, sums_of(totals, like))
    store(squares, 0, sums_of(squares, like))
    for one in range(count):
        found[first + one] += wide + totals[one]
        found[units + first + one] += wide + squares[one]


@Template
def _add_all(values, found, place, zero, wide):  # type: ignore[no-untyped-def]  # types of the caller
    """The same: all six."""
    first, count, units, length = place
    line, like = lanes(zero), splat1(zero)
    whole, totals, squares = length - length % line, room(like), room(like)
    above, sizes, least, most = room(like), room(like), room(like), room(like)
    for one in range(count):
        start = (first + one) * length
        a, b, c, d = splat1(zero), splat1(zero), splat1(zero), splat1(zero)
        lows = highs = filled(values[start], like)
        for at in range(start, start + whole, line):
            some = load(values, at, like)
            a, b = add(some, a), add_squares(some, b)
            c, d = count_above(some, c), add_sizes(some, d)
            lows, highs = smaller(some, lows), larger(some, highs)
        if whole < length:
            some = load_some(values, start + whole, like, length - whole)
            a, b = add(some, a), add_squares(some, b)
            c, d = count_above(some, c), add_sizes(some, d)
        for at in range(start + whole, start + length):
            some = filled(values[at], like)
            lows, highs = smaller(some, lows), larger(some, highs)
        store(totals, one * line, a)
        store(squares, one * line, b)
        store(above, one * line, c)
        store(sizes, one * line, d)
        store(least, one * line, lows)
        store(most, one * line, highs)
    store(totals, 0, sums_of(totals, like))
    store(squares, 0, sums_of(squares, like))
    store(above, 0, sums_of(above, like))
    store(sizes, 0, sums_of(sizes, like))
    store(least, 0, least_of(least, like))
    store(most, 0, most_of(most, like))
    for one in range(count):
        found[first + one] += wide + totals[one]
        found[units + first + one] += wide + squares[one]
        found[2 * units + first + one] += wide + above[one]
        found[3 * units + first + one] += wide + sizes[one]
        at = 4 * units + first + one
        found[at] = min(found[at], wide + least[one])
        found[at + units] = max(found[at + units], wide + most[one])


@compiled_by_type(
    "void(float32, UniTuple(int64, 4), UniTuple(int64, 4), UniTuple(int64, 2))",
    "void(float64, UniTuple(int64, 4), UniTuple(int64, 4), UniTuple(int64, 2))",
)
def pick(zero: Any, tensors: Addresses, shape: Addresses, block: Addresses) -> None:
    """Copies some values of each unit, whose values lie together.

    Args:
        zero: A zero of the type of the values.
        tensors: The addresses of the values, of those that are written, and of which of a unit's
            values are copied and of their places, as int64.
        shape: How many values a unit has; how many are copied; how far units and places lie apart
            in what is written.
        block: The first unit, and the one behind the last.
    """
    read, write = numbers(tensors[0], zero), numbers(tensors[1], zero)
    which, places = longs(tensors[2]), longs(tensors[3])
    for one in range(shape[1]):
        start, to = which[one], places[one] * shape[3]
        for unit in range(block[0], block[1]):
            write[to + unit * shape[2]] = read[start + unit * shape[0]]


@compiled_by_type(
    "void(float32, float64, UniTuple(int64, 3), UniTuple(int64, 3))",
    "void(float64, float64, UniTuple(int64, 3), UniTuple(int64, 3))",
)
def sum_rows(zero: Any, wide: float, tensors: Addresses, shape: Addresses) -> None:
    """Units that lie side by side, in rows.

    Args:
        zero: See above, as for ``wide`` and ``tensors``.
        wide: The zero of float64.
        tensors: See above; then the address of 6 rows of whole lines for all units, in the type of
            the values, to write on.
        shape: The numbers of rows and of units, neither 0; then how far rows lie apart.
    """
    values, found, held = (
        numbers(tensors[0], zero),
        numbers(tensors[1], wide),
        numbers(tensors[2], zero),
    )
    rows, units, line = shape[0], shape[1], lanes(zero)
    width = (units + line - 1) // line * line
    for place in range(4 * units):
        found[place] = wide
    for start in range(0, units, line):
        some = _read(values, start, min(line, units - start), line, splat1(zero))
        store(held, 4 * width + start, some)
        store(held, 5 * width + start, some)
    for first in range(0, rows, LONGEST):
        last = min(first + LONGEST, rows)
        for place in range(0, 4 * width, line):
            store(held, place, splat1(zero))
        for top in range(first, last, _ROWS):
            for start in range(0, units, line):
                count, stop = min(line, units - start), min(top + _ROWS, last)
                _take_in(
                    values, (top, stop, shape[2], start, count, line), held, width, splat1(zero)
                )
        _carry(found, held, units, width)
    for part in range(4, 6):
        for unit in range(units):
            found[part * units + unit] = wide + held[part * width + unit]


@compiled_by_type("void(float64, UniTuple(int64, 2), int64)")
def add_sums(wide: Any, tensors: Addresses, units: int) -> None:
    """Takes the sums and extrema of some values into those of others.

    Args:
        wide: The zero of float64.
        tensors: The addresses of both, ``(6, units)`` float64 each; the second is written.
        units: Their number.
    """
    some, found = numbers(tensors[0], wide), numbers(tensors[1], wide)
    for place in range(4 * units):
        found[place] += some[place]
    for place in range(4 * units, 5 * units):
        found[place] = min(found[place], some[place])
    for place in range(5 * units, 6 * units):
        found[place] = max(found[place], some[place])


@Template
def _take_in(values, place, held, width, like):  # type: ignore[no-untyped-def]  # types of the caller
    """Takes a column of lines, ``place``, into what is held of its units."""
    top, stop, step, start, count, line = place
    a, b = load(held, start, like), load(held, width + start, like)
    c, d = load(held, 2 * width + start, like), load(held, 3 * width + start, like)
    lows, highs = load(held, 4 * width + start, like), load(held, 5 * width + start, like)
    for row in range(top, stop):
        some = _read(values, row * step + start, count, line, like)
        a, b = add(some, a), add_squares(some, b)
        c, d = count_above(some, c), add_sizes(some, d)
        lows, highs = smaller(some, lows), larger(some, highs)
    store(held, start, a)
    store(held, width + start, b)
    store(held, 2 * width + start, c)
    store(held, 3 * width + start, d)
    store(held, 4 * width + start, lows)
    store(held, 5 * width + start, highs)


@Template
def _carry(found, held, units, width):  # type: ignore[no-untyped-def]  # types of the caller
    """Adds the sums of lines that are held to those of units."""
    for part in range(4):
        for unit in range(units):
            found[part * units + unit] += held[part * width + unit]


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
