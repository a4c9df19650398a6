"""Sums and extrema of each unit of an activation, in one pass, as compiled loops.

For each unit six numbers: the sum, the sum of squares, how many values are above 0, the sum of
magnitudes, the least and the largest value. So many lines of values are summed in their own type,
and those sums in float64. Values that lie the same way give the same bits, whichever kernel reads
them.

`sum_runs` and `sum_rows` begin with ``(zero, wide, tensors, shape)``:

- ``zero``, ``wide``: zeros of the type of the values and of float64;
- ``tensors``: the addresses of the values, and of ``(6, units)`` float64 that is written;
- ``shape``: how many there are along each axis.

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
    rectified,
    smaller,
    smallest,
    splat1,
    store,
    store_some,
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
    place = (shape[0], shape[1], shape[2], 6, 0)
    sum_block(values, found, held, place, (0, shape[1]), zero, wide)


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
def sum_block(values, found, held, shape, block, zero, wide):  # type: ignore[no-untyped-def]  # noqa: PLR0913, PLR0917  # as `sum_rows` has them
    """Sums and extrema of neighbouring units that lie side by side, in rows.

    Some rows at a time are read from their beginning to their end, as memory is fetched best.

    Args:
        values: What is summed.
        found: Shape ``(6, units)``, float64. Written.
        held: Room for 6 rows of whole lines for all units, in the type of the values. Written.
        shape: The numbers of rows and of units, neither 0; how far rows lie apart; how many of the
            six numbers are wanted: 2, the sum and the sum of squares, or 6; and 1 where values are
            rectified before all else, and written.
        block: The first unit, the first of a line, and the one behind the last.
        zero: A zero of the type of the values.
        wide: The zero of float64.
    """
    rows, units, step, wanted, gate = shape
    line, widths = lanes(zero), (units, (units + lanes(zero) - 1) // lanes(zero) * lanes(zero))
    for start in range(block[0], block[1], line):
        some = _read_line(values, start, min(line, block[1] - start), line, splat1(zero))
        if gate == 1:
            some = rectified(some)
        store(held, 4 * widths[1] + start, some)
        store(held, 5 * widths[1] + start, some)
    _clear(found, wide, units, (0, wanted), block)
    for first in range(0, rows, LONGEST):
        for part in range(min(wanted, 4)):
            for start in range(block[0], block[1], line):
                store(held, part * widths[1] + start, splat1(zero))
        for top in range(first, min(first + LONGEST, rows), _ROWS):
            place = (top, min(top + _ROWS, first + LONGEST, rows), step, wanted, gate)
            _take_rows(values, place, block, held, widths[1], zero)
        _add_up(found, held, widths, (0, min(wanted, 4)), block)
    _add_up(found, held, widths, (4, wanted), block)


@Template
def _clear(found, wide, units, parts, block):  # type: ignore[no-untyped-def]  # types of the caller
    """Writes zeros to some of the numbers of a block's units: the first and the one behind."""
    for part in range(parts[0], parts[1]):
        for unit in range(block[0], block[1]):
            found[part * units + unit] = wide


@Template
def _add_up(found, held, widths, parts, block):  # type: ignore[no-untyped-def]  # types of the caller
    """Adds what is held of some of the numbers of a block's units."""
    for part in range(parts[0], parts[1]):
        for unit in range(block[0], block[1]):
            found[part * widths[0] + unit] += held[part * widths[1] + unit]


@Template
def _take_rows(values, rows, block, held, width, zero):  # type: ignore[no-untyped-def]  # types of the caller
    """Takes some rows of a block into what is held of its units."""
    line, like, whole = lanes(zero), splat1(zero), block[1] - (block[1] - block[0]) % lanes(zero)
    place = (rows[0], rows[1], rows[2])
    if rows[4] == 1:
        for row in range(rows[0], rows[1]):
            rectify(values, row * rows[2] + block[0], row * rows[2] + block[1], zero)
    if rows[3] == 2:
        for start in range(block[0], whole, line):
            _take_two(values, place, start, held, width, like)
    else:
        for start in range(block[0], whole, line):
            _take_six(values, place, start, held, width, like)
    if whole < block[1]:
        _take_some(values, place, (whole, block[1] - whole), held, width, like)


@Template
def _take_two(values, rows, start, held, width, like):  # type: ignore[no-untyped-def]  # types of the caller
    """Takes a column of lines into what is held of its units: two numbers."""
    a, b = load(held, start, like), load(held, width + start, like)
    for row in range(rows[0], rows[1]):
        some = load(values, row * rows[2] + start, like)
        a, b = add(some, a), add_squares(some, b)
    store(held, start, a)
    store(held, width + start, b)


@Template
def _take_six(values, rows, start, held, width, like):  # type: ignore[no-untyped-def]  # types of the caller
    """The same: all six."""
    six = _held(held, start, width, like)
    for row in range(rows[0], rows[1]):
        six = _with(load(values, row * rows[2] + start, like), six)
    _hold(held, start, width, six)


@Template
def _take_some(values, rows, place, held, width, like):  # type: ignore[no-untyped-def]  # types of the caller
    """The same of the first lanes of a column."""
    start, count = place
    six = _held(held, start, width, like)
    for row in range(rows[0], rows[1]):
        six = _with(load_some(values, row * rows[2] + start, like, count), six)
    _hold(held, start, width, six)


@Template
def rectify(values, at, end, zero):  # type: ignore[no-untyped-def]  # types of the caller
    """Writes what a ReLU gives of values that lie together: the first, and the one behind."""
    line, like = lanes(zero), splat1(zero)
    while at + line <= end:
        store(values, at, rectified(load(values, at, like)))
        at += line
    if at < end:
        store_some(values, at, rectified(load_some(values, at, like, end - at)), end - at)


@Template
def _held(held, start, width, like):  # type: ignore[no-untyped-def]  # types of the caller
    """What is held of the six numbers of a line of units."""
    return (
        load(held, start, like),
        load(held, width + start, like),
        load(held, 2 * width + start, like),
        load(held, 3 * width + start, like),
        load(held, 4 * width + start, like),
        load(held, 5 * width + start, like),
    )


@Template
def _with(some, six):  # type: ignore[no-untyped-def]  # types of the caller
    """The six numbers with those of one more line."""
    return (
        add(some, six[0]),
        add_squares(some, six[1]),
        count_above(some, six[2]),
        add_sizes(some, six[3]),
        smaller(some, six[4]),
        larger(some, six[5]),
    )


@Template
def _hold(held, start, width, six):  # type: ignore[no-untyped-def]  # types of the caller
    """Writes the six numbers of a line of units."""
    for part in range(6):
        store(held, part * width + start, six[part])


@Template
def _read_line(values, at, count, line, like):  # type: ignore[no-untyped-def]  # types of the caller
    """A line, or its first ``count`` lanes."""
    if count == line:
        return load(values, at, like)
    return load_some(values, at, like, count)


@Template
def _carried(sums, a, b, c, d):  # type: ignore[no-untyped-def]  # types of the caller
    """``sums`` with those of four lines."""
    return (sums[0] + total(a), sums[1] + total(b), sums[2] + total(c), sums[3] + total(d))
