"""Compiled loops over the places of live weights: their index, by rows and by columns."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from structure_net.core.compiling import Template, compiled

_Indices = NDArray[np.int32]

NEAR: Final = 16
"""Weights of a row that are looked at one by one before the rest is halved again and again."""


@Template
def _order_columns(offsets: Any, columns: Any, column_offsets: Any, rows: Any, order: Any) -> None:
    """Writes where weights stand by columns, given where they stand by rows; see `LiveIndex`."""
    # Indices without a sign: of others the compiler asks each time whether they count from the end.
    free = np.zeros(len(column_offsets), np.uint32)
    for k in range(len(columns)):
        free[np.uint32(columns[k]) + np.uint32(1)] += np.uint32(1)
    total: Any = np.uint32(0)
    for column in range(len(free)):
        total += free[column]
        column_offsets[column] = free[column] = total
    at: Any = np.uint64(0)
    for row in range(len(offsets) - 1):
        while at < np.uint64(offsets[row + 1]):
            unit = np.uint32(columns[at])
            place = free[unit]
            free[unit] = place + np.uint32(1)
            rows[place] = row
            order[place] = at
            at += np.uint64(1)


@compiled("void(int64[::1], int64, int32[::1], int32[::1], int32[::1], int32[::1], int32[::1])")
def index_places(  # noqa: PLR0913, PLR0917 - the five arrays of an index
    keys: NDArray[np.int64],
    inputs: int,
    offsets: _Indices,
    columns: _Indices,
    column_offsets: _Indices,
    rows: _Indices,
    order: _Indices,
) -> None:
    """Writes where weights stand, as `LiveIndex` describes it.

    Args:
        keys: ``row * inputs + column`` of each weight, ascending. Shape ``(n,)``.
        inputs: The number of input units.
        offsets: Zeros; is written. Shape ``(outputs + 1,)``.
        columns: Is written. Shape ``(n,)``.
        column_offsets: Zeros; is written. Shape ``(inputs + 1,)``.
        rows: Is written. Shape ``(n,)``.
        order: Is written. Shape ``(n,)``.
    """
    for k in range(len(keys)):
        row = keys[k] // inputs
        columns[k] = keys[k] - row * inputs
        offsets[row + 1] += 1
    for row in range(1, len(offsets)):
        offsets[row] += offsets[row - 1]
    _order_columns(offsets, columns, column_offsets, rows, order)


@compiled("boolean(int32[::1], int32[::1], int32[::1], int32[::1], int32[::1])")
def agrees(
    offsets: _Indices,
    columns: _Indices,
    column_offsets: _Indices,
    rows: _Indices,
    order: _Indices,
) -> bool:
    """Whether weights stand at the same places by rows and by columns, each place at most once.

    All numbers must be in range, and offsets must ascend; see `LiveIndex`.
    """
    for row in range(len(offsets) - 1):
        for k in range(offsets[row] + 1, offsets[row + 1]):
            if columns[k] <= columns[k - 1]:
                return False
    for column in range(len(column_offsets) - 1):
        for k in range(column_offsets[column], column_offsets[column + 1]):
            row, place = rows[k], order[k]
            if k > column_offsets[column] and row <= rows[k - 1]:
                return False
            if columns[place] != column or not offsets[row] <= place < offsets[row + 1]:
                return False
    return True


@compiled("void(int32[::1], int32[::1], int64[::1])")
def list_places(offsets: _Indices, columns: _Indices, keys: NDArray[np.int64]) -> None:
    """Writes ``row * inputs + column`` of each weight.

    Args:
        offsets: Where each row begins, and the number of weights. Shape ``(outputs + 1,)``.
        columns: The column of each weight. Shape ``(n,)``.
        keys: Holds the number of inputs in its last entry; is written. Shape ``(n + 1,)``.
    """
    inputs = keys[len(keys) - 1]
    for row in range(len(offsets) - 1):
        for k in range(offsets[row], offsets[row + 1]):
            keys[k] = row * inputs + columns[k]


@compiled("void(int32[::1], int32[::1], int64[::1], int64[::1], int64[::1])")
def find_places(
    offsets: _Indices,
    columns: _Indices,
    rows: NDArray[np.int64],
    wanted: NDArray[np.int64],
    found: NDArray[np.int64],
) -> None:
    """Writes where weights stand in the list.

    Args:
        offsets: Where each row begins, and the number of weights. Shape ``(outputs + 1,)``.
        columns: The column of each weight, ascending within a row. Shape ``(n,)``.
        rows: The row of each place that is looked for. Shape ``(m,)``.
        wanted: Its column. Shape ``(m,)``.
        found: Is written: its place in the list, or -1. Shape ``(m,)``.
    """
    row, low = np.int64(-1), np.int64(0)
    for k in range(len(rows)):
        # Ascending pairs, which most are, go on where the one before was found.
        if rows[k] != row or wanted[k] < wanted[k - 1]:
            row = rows[k]
            low = np.int64(offsets[row])
        end = np.int64(offsets[row + 1])
        near = min(low + NEAR, end)
        while low < near and columns[low] < wanted[k]:
            low += 1
        high = end if low == near else low
        while low < high:
            middle = (low + high) // 2
            if columns[middle] < wanted[k]:
                low = middle + 1
            else:
                high = middle
        found[k] = low if low < end and columns[low] == wanted[k] else -1


@compiled(
    "boolean(int32[::1], int32[::1], int64[::1], int64[::1], int64[::1], "
    "int32[::1], int32[::1], int32[::1], int32[::1], int32[::1])"
)
def exchange_places(  # noqa: PLR0913, PLR0917 - an index before, and the five arrays of one after
    offsets: _Indices,
    columns: _Indices,
    gone: NDArray[np.int64],
    new: NDArray[np.int64],
    origin: NDArray[np.int64],
    made_offsets: _Indices,
    made_columns: _Indices,
    column_offsets: _Indices,
    rows: _Indices,
    order: _Indices,
) -> bool:
    """Writes the index without some weights and with some more.

    Args:
        offsets: Where each row begins, and the number of weights. Shape ``(outputs + 1,)``.
        columns: The column of each weight, ascending within a row. Shape ``(n,)``.
        gone: ``row * inputs + column`` of the weights that go, ascending. Shape ``(k,)``.
        new: The same of the weights that come. Shape ``(m,)``.
        origin: Is written: the place in the old list of each weight, or ``n`` plus that in
            ``new``. Shape ``(n - k + m,)``.
        made_offsets: Zeros; is written, as all that follow. Shape ``(outputs + 1,)``.
        made_columns: Shape ``(n - k + m,)``.
        column_offsets: Zeros. Shape ``(inputs + 1,)``.
        rows: Shape ``(n - k + m,)``.
        order: Shape ``(n - k + m,)``.

    Returns:
        Whether there was a weight at each of ``gone``, and at none of ``new`` but those; if not,
        what was written means nothing.
    """
    inputs, count, beyond = len(column_offsets) - 1, len(columns), np.int64(1) << 62
    # Indices without a sign, and the next place of either list at hand: see `_order_columns`.
    one, room = np.uint64(1), np.uint64(len(origin))
    k, gone_at, new_at, written = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
    leaving = gone[0] if len(gone) else beyond
    coming = new[0] if len(new) else beyond
    for row in range(len(offsets) - 1):
        base, end = np.int64(row) * inputs, np.uint64(offsets[row + 1])
        limit = base + inputs
        while True:
            place = base + columns[k] if k < end else limit
            while coming < place and written < room:
                made_columns[written] = coming - base
                origin[written] = count + np.int64(new_at)
                written += one
                new_at += one
                coming = new[new_at] if new_at < np.uint64(len(new)) else beyond
            if k == end:
                break
            if leaving == place:
                gone_at += one
                leaving = gone[gone_at] if gone_at < np.uint64(len(gone)) else beyond
            elif leaving < place or coming == place or written == room:
                return False
            else:
                made_columns[written] = columns[k]
                origin[written] = np.int64(k)
                written += one
            k += one
        made_offsets[row + 1] = np.int32(written)
    if gone_at < np.uint64(len(gone)) or new_at < np.uint64(len(new)) or written < room:
        return False
    _order_columns(made_offsets, made_columns, column_offsets, rows, order)
    return True


@compiled("boolean(int64[::1], int64[::1], int64, int64)")
def ascending_places(
    rows: NDArray[np.int64], columns: NDArray[np.int64], outputs: int, inputs: int
) -> bool:
    """Whether places lie in a matrix, sorted by row and then by column, each once.

    Args:
        rows: Shape ``(n,)``.
        columns: Shape ``(n,)``.
        outputs: The number of the matrix's rows.
        inputs: The number of its columns.
    """
    row, column = np.int64(0), np.int64(-1)
    for k in range(len(rows)):
        later = rows[k] > row or (rows[k] == row and columns[k] > column)
        if not later or rows[k] >= outputs or columns[k] < 0 or columns[k] >= inputs:
            return False
        row, column = rows[k], columns[k]
    return True


@compiled("void(int64[::1], int64, int64[:, ::1])")
def split_places(places: NDArray[np.int64], width: int, table: NDArray[np.int64]) -> None:
    """Writes the row and the column of each place, ``row * width + column``.

    Args:
        places: At least 0, in any order. Shape ``(n,)``.
        width: The number of columns.
        table: Is written: rows, and then columns. Shape ``(2, n)``.
    """
    row, base = np.int64(0), np.int64(0)
    for k in range(len(places)):
        # Places that ascend mostly stay in the row of the one before.
        if places[k] < base or places[k] >= base + width:
            row = places[k] // width
            base = row * width
        table[0, k] = row
        table[1, k] = places[k] - base


@compiled("void(int64[::1], int64)")
def sort_places(places: NDArray[np.int64], size: int) -> None:
    """Sorts ``places``, which lie from 0 to ``size - 1``, ascending: digit by digit."""
    digits, shift = np.int64(2048), np.int64(0)
    read, write = places, np.empty_like(places)
    while shift < 63 and (np.int64(size - 1) >> shift) > 0:
        starts = np.zeros(digits + 1, np.int64)
        for k in range(len(read)):
            starts[((read[k] >> shift) & (digits - 1)) + 1] += 1
        for digit in range(digits):
            starts[digit + 1] += starts[digit]
        for k in range(len(read)):
            digit = (read[k] >> shift) & (digits - 1)
            write[starts[digit]] = read[k]
            starts[digit] += 1
        read, write = write, read
        shift += 11
    for k in range(len(read)):
        places[k] = read[k]


@compiled("int64(int64[::1], int64[::1], int64[::1], int64[::1])")
def merge_free(
    taken: NDArray[np.int64],
    chosen: NDArray[np.int64],
    drawn: NDArray[np.int64],
    whole: NDArray[np.int64],
) -> int:
    """Merges what was drawn and is free into what was chosen before.

    Args:
        taken: Places that are taken, ascending.
        chosen: Those chosen before, ascending; none is taken.
        drawn: Further ones, ascending; they may be taken, chosen, or repeat.
        whole: Is written: both, each once, ascending. As long as both together.

    Returns:
        How many there are.
    """
    held: Any = 0
    first: Any = 0
    count: Any = 0
    few = NEAR * len(drawn) < len(taken)
    for k in range(len(drawn)):
        place = drawn[k]
        while first < len(chosen) and chosen[first] < place:
            whole[count] = chosen[first]
            first += 1
            count += 1
        if few:
            held += np.searchsorted(taken[held:], place)
        while held < len(taken) and taken[held] < place:
            held += 1
        free = held == len(taken) or taken[held] != place
        known = first < len(chosen) and chosen[first] == place
        if free and not known and (count == 0 or whole[count - 1] != place):
            whole[count] = place
            count += 1
    while first < len(chosen):
        whole[count] = chosen[first]
        first += 1
        count += 1
    return int(count)


@compiled("void(int64[::1], int64[::1], int64[::1], int64[::1])")
def merge_places(
    keys: NDArray[np.int64],
    new: NDArray[np.int64],
    whole: NDArray[np.int64],
    place: NDArray[np.int64],
) -> None:
    """Merges two ascending lists.

    Args:
        keys: Shape ``(n,)``.
        new: Shape ``(m,)``; nothing of it is in ``keys``.
        whole: Is written: all entries, ascending. Shape ``(n + m,)``.
        place: Is written: where each stands in ``keys``, or ``n`` plus where in ``new``.
    """
    first: Any = 0
    second: Any = 0
    for k in range(len(whole)):
        if second == len(new) or (first < len(keys) and keys[first] < new[second]):
            whole[k] = keys[first]
            place[k] = first
            first += 1
        else:
            whole[k] = new[second]
            place[k] = len(keys) + second
            second += 1
