"""What is noted of one activation as one compiled call, which any number of threads may join.

A table says all of it: where values lie and how, where sums stand that they are added to, and which
samples are copied to where. Values may be rectified on the way: a ReLU and all that is noted behind
it read and write them once, while they lie in the nearest cache. Sums have the bits of
`unit_kernels`, whose words these are. Threads claim blocks of units one by one; these do not depend
on each other. Callers answer for addresses and sizes: nothing is checked here.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from structure_net.core.compiling import Template, compiled, compiled_by_type
from structure_net.core.note_kernels import pick, pick_rows, scratch, take_in, take_sums
from structure_net.core.shared_counts import count_up
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
    rectified,
    smaller,
    splat1,
    store,
    total,
)
from structure_net.core.unit_kernels import LONGEST, rectify, sum_block

COLUMNS: Final = 19
"""Of a table: the addresses of values, of sums, and of `room` bytes to write on; the numbers of
units, of runs, and of values of a unit in a run; how far runs lie apart, and units; how many of the
six numbers are wanted; 1 where values are rectified and written; how values lie; in how many blocks
units are cut; how many of these are claimed; how many samples are copied, the addresses of which
they are, of their places and of what is written, and how far units and places lie apart in it."""

ROWS: Final = 0
"""Units lie side by side: a run is a row, which has one value of each."""
RUNS: Final = 1
"""Values of a unit in a run lie together. No sample is copied of more runs than one."""
TOGETHER: Final = 2
"""There is one run of at most `LONGEST` lines, and units lie without gaps."""

_NEAR: Final = 32
"""Lines of a unit that are summed before the next unit is, of several runs if need be."""

_take_in = Template(take_in.__wrapped__)
_pick = Template(pick.__wrapped__)
_pick_rows = Template(pick_rows.__wrapped__)


def room(units: int, kind: int) -> int:
    """The bytes that a call writes on, by how values lie."""
    if kind == RUNS:
        return 6 * (8 + LINE) * units
    return scratch(units) if kind == ROWS else 0


@compiled_by_type("void(float32, int64)", "void(float64, int64)")
def note(zero: Any, table: int) -> None:
    """Notes what a table says, alone.

    Args:
        zero: A zero of the type of the values.
        table: Its address: see `COLUMNS`.
    """
    row = longs(table)
    _note_units(zero, row, (0, row[3]))


@compiled("void(int64)", for_c=True)
def help_with_singles(table: int) -> None:
    """What each of several threads does for a table of float32.

    Args:
        table: Its address.
    """
    _help(np.float32(0), table)


@compiled("void(int64)", for_c=True)
def help_with_doubles(table: int) -> None:
    """What each of several threads does for a table of float64.

    Args:
        table: Its address.
    """
    _help(np.float64(0), table)


@Template
def _help(zero: Any, table: int) -> None:
    """Takes blocks until none is left; each begins with the first lane of a line."""
    row = longs(table)
    units, blocks, line = row[3], row[11], lanes(zero)
    part = count_up(table + 96, 1)
    while part < blocks:
        first = units * part // blocks // line * line
        last = units if part + 1 == blocks else units * (part + 1) // blocks // line * line
        if first < last:
            _note_units(zero, row, (first, last))
        part = count_up(table + 96, 1)


@Template
def _note_units(zero: Any, row: Any, block: Any) -> None:
    """What is noted of some of the units: the first, and the one behind the last."""
    wide, units = 0.0, row[3]
    values, sums = numbers(row[0], zero), numbers(row[1], wide)
    found, held = numbers(row[2], wide), numbers(row[2] + 48 * units, zero)
    picked, steps = (row[0], row[16], row[14], row[15]), (row[17], row[18])
    if row[10] == ROWS:
        shape = (row[4], units, row[6], row[8], row[9])
        sum_block(values, found, held, shape, block, zero, wide)
        take_sums(found, sums, units, row[8], block)
        if row[13] > 0:
            _pick_rows(zero, picked, row[13], (row[6], steps[0], steps[1]), block)
        return
    if row[10] == TOGETHER:
        first = block[0]
        while first < block[1]:
            last = min(first + lanes(zero), block[1])
            if row[9] == 1:
                rectify(values, first * row[5], last * row[5], zero)
            _take_in(zero, wide, (row[0], row[1]), (units, row[5]), (first, last, row[8]))
            first = last
    else:
        shape = (row[4], units, row[5], row[6], row[7])
        _sum_runs(values, found, held, shape, block, (row[8], row[9]), zero, wide)
        take_sums(found, sums, units, row[8], block)
    if row[13] > 0:
        _pick(zero, picked, (row[7], row[13], steps[0], steps[1]), block)


@Template
def _sum_runs(values, found, held, shape, block, how, zero, wide):  # type: ignore[no-untyped-def]  # noqa: PLR0913, PLR0917  # as `unit_kernels.sum_block` has them
    """Sums and extrema of neighbouring units whose values lie together, in runs.

    Runs are read one behind the other, as they lie in memory. The sums that go on from run to run
    are held meanwhile.

    Args:
        values: What is summed.
        found: Shape ``(6, units)``, float64. Written.
        held: Room for 6 lines of each unit. Written.
        shape: The numbers of runs, of units, and of values in a run; how far runs lie apart, and
            units. None is 0.
        block: The first unit, and the one behind the last.
        how: How many of the six numbers are wanted; 1 where values are rectified and written.
        zero: A zero of the type of the values.
        wide: The zero of float64.
    """
    runs, units, length, step, stride = shape
    line, like = lanes(zero), splat1(zero)
    lines = (length + line - 1) // line
    for unit in range(block[0], block[1]):
        at = 6 * line * unit
        value = filled(values[unit * stride], like)
        if how[1] == 1:
            value = rectified(value)
        for part in range(4):
            store(held, at + part * line, like)
            found[part * units + unit] = wide
        store(held, at + 4 * line, value)
        store(held, at + 5 * line, value)
    some = max(1, _NEAR // lines)
    for first in range(0, runs, some):
        waiting = first * lines
        waiting = (waiting + LONGEST - 1) % LONGEST + 1 if waiting > 0 else 0
        for unit in range(block[0], block[1]):
            place = (first, min(first + some, runs), step, unit * stride, length, waiting)
            if how[0] == 2:
                _take_moments(values, found, held, place, (units, unit), zero)
            else:
                _take_all(values, found, held, place, (units, unit, how[1]), zero)
    for unit in range(block[0], block[1]):
        at = 6 * line * unit
        _carry(found, held, (units, unit), 2 if how[0] == 2 else 4, zero)
        if how[0] == 6:
            least, most = held[at + 4 * line], held[at + 5 * line]
            for lane in range(1, line):
                least = min(least, held[at + 4 * line + lane])
                most = max(most, held[at + 5 * line + lane])
            found[4 * units + unit] = wide + least
            found[5 * units + unit] = wide + most


@Template
def _carry(found, held, place, parts, zero):  # type: ignore[no-untyped-def]  # types of the caller
    """Adds what is held of a unit's sums to what was found of them."""
    line, like = lanes(zero), splat1(zero)
    at = 6 * line * place[1]
    for part in range(parts):
        found[part * place[0] + place[1]] += total(load(held, at + part * line, like))


@Template
def _take_moments(values, found, held, runs, place, zero):  # type: ignore[no-untyped-def]  # types of the caller
    """Takes some runs of one unit into what is held of it: two numbers."""
    first, last, step, offset, length, waiting = runs
    line, like, at = lanes(zero), splat1(zero), 6 * lanes(zero) * place[1]
    whole, lines = length // line, (length + line - 1) // line
    a, b = load(held, at, like), load(held, at + line, like)
    for run in range(first, last):
        start, k = run * step + offset, 0
        while k < lines:
            if waiting == LONGEST:
                store(held, at, a)
                store(held, at + line, b)
                _carry(found, held, place, 2, zero)
                a, b, waiting = like, like, 0
            end = min(lines, k + LONGEST - waiting)
            for j in range(k, min(end, whole)):
                some = load(values, start + j * line, like)
                a, b = add(some, a), add_squares(some, b)
            if end > whole:
                some = load_some(values, start + whole * line, like, length - whole * line)
                a, b = add(some, a), add_squares(some, b)
            waiting += end - k
            k = end
    store(held, at, a)
    store(held, at + line, b)


@Template
def _take_all(values, found, held, runs, place, zero):  # type: ignore[no-untyped-def]  # types of the caller
    """The same: all six."""
    first, last, step, offset, length, waiting = runs
    line, like, at = lanes(zero), splat1(zero), 6 * lanes(zero) * place[1]
    whole, lines = length // line, (length + line - 1) // line
    a, b = load(held, at, like), load(held, at + line, like)
    c, d = load(held, at + 2 * line, like), load(held, at + 3 * line, like)
    lows, highs = load(held, at + 4 * line, like), load(held, at + 5 * line, like)
    for run in range(first, last):
        start, k = run * step + offset, 0
        while k < lines:
            if waiting == LONGEST:
                store(held, at, a)
                store(held, at + line, b)
                store(held, at + 2 * line, c)
                store(held, at + 3 * line, d)
                _carry(found, held, place, 4, zero)
                a, b, c, d, waiting = like, like, like, like, 0
            end = min(lines, k + LONGEST - waiting)
            if place[2] == 1:
                for j in range(k, min(end, whole)):
                    some = rectified(load(values, start + j * line, like))
                    store(values, start + j * line, some)
                    a, b = add(some, a), add_squares(some, b)
                    c, d = count_above(some, c), add_sizes(some, d)
                    lows, highs = smaller(some, lows), larger(some, highs)
            else:
                for j in range(k, min(end, whole)):
                    some = load(values, start + j * line, like)
                    a, b = add(some, a), add_squares(some, b)
                    c, d = count_above(some, c), add_sizes(some, d)
                    lows, highs = smaller(some, lows), larger(some, highs)
            if end > whole:
                if place[2] == 1:
                    rectify(values, start + whole * line, start + length, zero)
                some = load_some(values, start + whole * line, like, length - whole * line)
                a, b = add(some, a), add_squares(some, b)
                c, d = count_above(some, c), add_sizes(some, d)
                for j in range(start + whole * line, start + length):
                    some = filled(values[j], like)
                    lows, highs = smaller(some, lows), larger(some, highs)
            waiting += end - k
            k = end
    store(held, at, a)
    store(held, at + line, b)
    store(held, at + 2 * line, c)
    store(held, at + 3 * line, d)
    store(held, at + 4 * line, lows)
    store(held, at + 5 * line, highs)
