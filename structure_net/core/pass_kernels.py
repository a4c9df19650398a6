"""Several products in a row as one compiled call, which any number of threads may join.

A table has one row for each operation: which of `sparse_kernels` or `unit_kernels` it is, the
addresses it works on, and into how many blocks of rows it is cut. Each thread has a share of
neighbouring blocks, so that two threads seldom write to the same line of the cache. Threads claim
blocks one by one, of their own share and then of the others', and count those that they have done;
an operation begins when the one that it waits for is done. So nobody waits for a thread that has
not begun to work, and a thread that comes late finds what is left: nothing, when all is done.
Blocks do not depend on who computes them (`sparse_kernels`), nor do the results.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from structure_net.core.compiling import Template, compiled, compiled_by_type
from structure_net.core.note_kernels import pick, pick_rows, take_in, take_in_rows
from structure_net.core.shared_counts import count_up, counted, pause
from structure_net.core.simd import (
    integers,
    lanes,
    load,
    load_some,
    longs,
    numbers,
    opened,
    splat1,
    store,
    store_some,
)
from structure_net.core.sparse_kernels import add_up, differentiate, multiply, sample, transpose
from structure_net.core.unit_kernels import sum_runs

COLUMNS: Final = 16
"""Of a table: the operation; five addresses of tensors and three of an index, as `sparse_kernels`
have them; how many rows it has; in how many blocks; the most lines of a tile; 1 where a product is
rectified, or where the gradient of inputs stops at those that are not above 0; the operation that
must be done before, or -1; the height of what is transposed. Of what is noted (`NOTE`, and
`NOTE_ROWS` where units lie side by side) instead the addresses of values, sums, rows, and of which
values are copied to which places; how many are copied, and how far units and places lie apart in
rows; the numbers that are wanted of each unit; and, where units lie side by side, how far rows of
values lie apart, and the address of memory to write on. Last, 1 where the row behind says what is
noted of each block that is computed."""

CALL: Final = 6
"""Numbers of a call: the addresses of a table and of counts; how many operations the table has; how
many threads have a share; the number of samples; and how many threads have taken theirs, 0 before
the first. Counts are of the blocks of an operation that are done, and of those of each share that
are claimed, 0 before the first thread begins: shape ``(operations, 1 + threads, LINE)``."""

MULTIPLY: Final = 0
DIFFERENTIATE: Final = 1
SAMPLE: Final = 2
ADD_UP: Final = 3
TRANSPOSE: Final = 4
SUM_UP: Final = 5
NOTE: Final = 6
NOTE_ROWS: Final = 7

LINE: Final = 16
"""Numbers from one count to the next: each has a line of the cache to itself."""

PATIENCE: Final = 4000
"""How often a thread looks whether the others are done, before it goes to sleep."""

_ROW: Final = 4
"""What the row itself costs beside its weights, in weights."""

_multiply = Template(multiply.__wrapped__)
_differentiate = Template(differentiate.__wrapped__)
_sample = Template(sample.__wrapped__)
_add_up = Template(add_up.__wrapped__)
_transpose = Template(transpose.__wrapped__)
_sum_runs = Template(sum_runs.__wrapped__)
_take_in = Template(take_in.__wrapped__)
_take_in_rows = Template(take_in_rows.__wrapped__)
_pick = Template(pick.__wrapped__)
_pick_rows = Template(pick_rows.__wrapped__)


@compiled_by_type("boolean(float32, int64, int64)", "boolean(float64, int64, int64)")
def work(zero: Any, call: int, thread: int) -> bool:
    """Does what is left of a table, beside others that may do the same.

    Args:
        zero: A zero of the type of all numbers.
        call: Where its numbers stand: see `CALL`.
        thread: The share to begin with.

    Returns:
        Whether all is done. Otherwise others are at work on the rest, and the caller may sleep and
        call again.
    """
    these = longs(call)
    table, counts, threads, batch = these[0], these[1], these[3], these[4]
    step = 8 * LINE * (1 + threads)
    for k in range(these[2]):
        row, done_here = longs(table + 8 * COLUMNS * k), counts + step * k
        before = row[13]
        if before >= 0 and not _done(counts + step * before, table + 8 * COLUMNS * before):
            return False
        for turn in range(threads):
            share = (thread + turn) % threads
            start, end = row[10] * share // threads, row[10] * (share + 1) // threads
            claims = done_here + 8 * LINE * (1 + share)
            done, part = 0, start + count_up(claims, 1)
            while part < end:
                _block(zero, row, batch, _bound(row, part), _bound(row, part + 1))
                done, part = done + 1, start + count_up(claims, 1)
            count_up(done_here, done)
    for k in range(these[2]):  # noqa: SIM110  # numba has no generators in `all`
        if not _done(counts + step * k, table + 8 * COLUMNS * k):
            return False
    return True


_work_on_singles: Final = work.of("float32")
_work_on_doubles: Final = work.of("float64")


@compiled("void(int64)", for_c=True)
def help_with_singles(call: int) -> None:
    """What each of several threads does for a call of `work` in float32.

    Args:
        call: Where its numbers stand.
    """
    _work_on_singles(np.float32(0), call, count_up(call + 40, 1) % longs(call)[3])


@compiled("void(int64)", for_c=True)
def help_with_doubles(call: int) -> None:
    """What each of several threads does for a call of `work` in float64.

    Args:
        call: Where its numbers stand.
    """
    _work_on_doubles(np.float64(0), call, count_up(call + 40, 1) % longs(call)[3])


@Template
def _done(count: int, row: int) -> bool:
    """Whether an operation is done, if need be after a while."""
    blocks = longs(row)[10]
    for _ in range(PATIENCE):
        if counted(count) == blocks:
            return True
        pause()
    return False


@Template
def _bound(row: Any, part: int) -> int:
    """The first row of a block: all blocks have about the same work."""
    rows, blocks = int(row[9]), int(row[10])
    if part == 0 or part == blocks:  # noqa: PLR1714  # numbers in a kernel
        return 0 if part == 0 else rows
    if row[0] == ADD_UP or row[0] == SUM_UP or row[0] == NOTE:
        return rows * part // blocks
    if row[0] == TRANSPOSE or row[0] == NOTE_ROWS:
        return rows * part // blocks // 16 * 16
    offsets = integers(row[6])
    share = (offsets[rows] + _ROW * rows) * part // blocks
    low, high = 0, rows
    while low < high:
        middle = (low + high) // 2
        if offsets[middle] + _ROW * middle < share:
            low = middle + 1
        else:
            high = middle
    return low


@Template
def _block(zero: Any, row: Any, batch: int, first: int, last: int) -> None:
    """One block of one operation, and what is noted of it."""
    if first == last:
        return
    _compute(zero, row, batch, first, last)
    if row[0] == NOTE or row[0] == NOTE_ROWS or row[15] == 1:
        _note(zero, row, row[15] * COLUMNS, batch, (first, last))


@Template
def _compute(zero: Any, row: Any, batch: int, first: int, last: int) -> None:
    """One block of one operation."""
    block, index = (row[11], first, last), (row[6], row[7], row[8])
    if row[0] == MULTIPLY:
        _multiply(zero, (row[1], row[2], row[3], row[4]), index, batch, block)
        if row[12] == 1:
            _open(zero, row[4], row[4], first * batch, last * batch)
    elif row[0] == DIFFERENTIATE:
        tensors = (row[1], row[2], row[3], row[4], row[5])
        _differentiate(zero, tensors, index, batch, block)
        if row[12] == 1:
            _open(zero, row[4], row[2], first * batch, last * batch)
    elif row[0] == SAMPLE:
        _sample(zero, (row[1], row[2], row[3]), index, batch, block)
    elif row[0] == ADD_UP:
        _add_up(zero, (row[1], row[2]), 0, batch, block)
    elif row[0] == TRANSPOSE:
        _transpose(zero, (row[1], row[2]), row[9], row[14], block)
    elif row[0] == SUM_UP:
        shape = (1, row[9], batch)
        _sum_runs(zero, 0.0, (row[1], row[2]), shape, (0, batch), (first, last))


@Template
def _note(zero: Any, rows: Any, at: int, batch: int, block: Any) -> None:
    """One block of what the row that begins ``at`` says is noted."""
    values, units, count = rows[at + 1], rows[at + 9], rows[at + 6]
    if rows[at] == NOTE_ROWS:
        shape = (batch, units, rows[at + 12], rows[at + 11])
        _take_in_rows(zero, 0.0, (values, rows[at + 2], rows[at + 14]), shape, block)
        if count > 0:
            tensors = (values, rows[at + 3], rows[at + 4], rows[at + 5])
            steps = (rows[at + 12], rows[at + 7], rows[at + 8])
            _pick_rows(zero, tensors, count, steps, block)
        return
    _take_in(zero, 0.0, (values, rows[at + 2]), (units, batch), (block[0], block[1], rows[at + 11]))
    if count > 0:
        tensors = (values, rows[at + 3], rows[at + 4], rows[at + 5])
        _pick(zero, tensors, (batch, count, rows[at + 7], rows[at + 8]), block)


@Template
def _open(zero: Any, address: int, gates: int, at: int, end: int) -> None:
    """Writes 0 where the number at the same place of ``gates`` is not above 0."""
    tensor, gate = numbers(address, zero), numbers(gates, zero)
    like, line = splat1(zero), lanes(zero)
    while at + line <= end:
        store(tensor, at, opened(load(tensor, at, like), load(gate, at, like)))
        at += line
    if at < end:
        count = end - at
        some, by = load_some(tensor, at, like, count), load_some(gate, at, like, count)
        store_some(tensor, at, opened(some, by), count)
