"""What is noted of activations, batch after batch, as compiled loops: sums that go on, and samples.

Values are added to the sums that stand there (`unit_kernels`, whose words these are), with the bits
that they have by themselves, and some of each unit are copied. Callers answer for sizes: nothing is
checked here.
"""

from __future__ import annotations

from typing import Any

from structure_net.core.compiling import Template, compiled_by_type
from structure_net.core.line_sums import least_of, most_of, room, sums_of
from structure_net.core.simd import (
    LINE,
    add,
    add_sizes,
    add_squares,
    count_above,
    filled,
    lanes,
    larger,
    load,
    load_some,
    longs,
    numbers,
    smaller,
    splat1,
    store,
)
from structure_net.core.unit_kernels import Addresses, sum_block


@compiled_by_type(
    "void(float32, float64, UniTuple(int64, 2), UniTuple(int64, 2), UniTuple(int64, 3))",
    "void(float64, float64, UniTuple(int64, 2), UniTuple(int64, 2), UniTuple(int64, 3))",
)
def take_in(zero: Any, wide: float, tensors: Addresses, shape: Addresses, block: Addresses) -> None:
    """Adds values of units, which lie together, to the sums that stand there.

    Args:
        zero: See `unit_kernels`, as for ``wide``.
        wide: The zero of float64.
        tensors: The addresses of values and sums.
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
    "void(float32, float64, UniTuple(int64, 3), UniTuple(int64, 4), UniTuple(int64, 2))",
    "void(float64, float64, UniTuple(int64, 3), UniTuple(int64, 4), UniTuple(int64, 2))",
)
def take_in_rows(
    zero: Any, wide: float, tensors: Addresses, shape: Addresses, block: Addresses
) -> None:
    """Adds values of units that lie side by side to the sums that stand there.

    Args:
        zero: See `unit_kernels`, as for ``wide``.
        wide: The zero of float64.
        tensors: The addresses of values and sums; and of memory to write on, `scratch` bytes.
        shape: See `unit_kernels.sum_block`, as for ``block``; nothing is rectified.
        block: Of the units.
    """
    values, sums = numbers(tensors[0], zero), numbers(tensors[1], wide)
    units, wanted = shape[1], shape[3]
    found, held = numbers(tensors[2], wide), numbers(tensors[2] + 48 * units, zero)
    place = (shape[0], units, shape[2], wanted, 0)
    sum_block(values, found, held, place, block, zero, wide)
    take_sums(found, sums, units, wanted, block)


@Template
def take_sums(found, sums, units, wanted, block):  # type: ignore[no-untyped-def]  # types of the caller
    """Takes what was found of a block's units into the sums that stand there."""
    for part in range(min(wanted, 4)):
        for unit in range(part * units + block[0], part * units + block[1]):
            sums[unit] += found[unit]
    if wanted == 2:
        return
    for unit in range(4 * units + block[0], 4 * units + block[1]):
        sums[unit] = min(sums[unit], found[unit])
        sums[unit + units] = max(sums[unit + units], found[unit + units])


def scratch(units: int) -> int:
    """The bytes that `take_in_rows` writes on."""
    return 6 * 8 * (2 * units + LINE // 8)


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
    "void(float32, UniTuple(int64, 4), int64, UniTuple(int64, 3), UniTuple(int64, 2))",
    "void(float64, UniTuple(int64, 4), int64, UniTuple(int64, 3), UniTuple(int64, 2))",
)
def pick_rows(
    zero: Any, tensors: Addresses, count: int, steps: Addresses, block: Addresses
) -> None:
    """The same of units that lie side by side.

    Args:
        zero: See `pick`, as for ``tensors``.
        tensors: See above.
        count: How many values of each unit are copied.
        steps: How far rows of values lie apart; and units and places in what is written.
        block: The first unit, and the one behind the last.
    """
    read, write = numbers(tensors[0], zero), numbers(tensors[1], zero)
    which, places = longs(tensors[2]), longs(tensors[3])
    for one in range(count):
        start, to = which[one] * steps[0], places[one] * steps[2]
        for unit in range(block[0], block[1]):
            write[to + unit * steps[1]] = read[start + unit]
