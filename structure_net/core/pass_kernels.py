"""Several products in a row as one compiled call, which any number of threads may join.

A table has one row for each operation: which of `sparse_kernels` it is, the addresses it works on,
and into how many blocks of rows it is cut. Threads claim blocks one by one and count those that
they have done; an operation begins when the one that it waits for is done. So nobody waits for a
thread that has not begun to work, and a thread that comes late finds what is left: nothing, when
all is done. Blocks do not depend on who computes them (`sparse_kernels`), nor do the results.
"""

from __future__ import annotations

from typing import Any, Final

from structure_net.core.compiling import Template, compiled_by_type
from structure_net.core.shared_counts import count_one, counted, pause
from structure_net.core.simd import (
    integers,
    lanes,
    load,
    load_some,
    numbers,
    opened,
    splat1,
    store,
    store_some,
)
from structure_net.core.sparse_kernels import add_up, differentiate, multiply, sample, transpose

COLUMNS: Final = 15
"""Of a table: the operation; five addresses of tensors and three of an index, as `sparse_kernels`
have them; how many rows it has; in how many blocks; the most lines of a tile; 1 where a product is
rectified, or where the gradient of inputs stops at those that are not above 0; the operation that
must be done before, or -1; the height of what is transposed."""

MULTIPLY: Final = 0
DIFFERENTIATE: Final = 1
SAMPLE: Final = 2
ADD_UP: Final = 3
TRANSPOSE: Final = 4

COUNTS: Final = 16
"""Numbers between the counts of two operations, and twice that between the two of each: the blocks
that are claimed, and those that are done. Each has a line of the cache to itself."""

PATIENCE: Final = 4000
"""How often a thread looks whether the others are done, before it goes to sleep."""

_ROW: Final = 4
"""What the row itself costs beside its weights, in weights."""

_multiply = Template(multiply.__wrapped__)
_differentiate = Template(differentiate.__wrapped__)
_sample = Template(sample.__wrapped__)
_add_up = Template(add_up.__wrapped__)
_transpose = Template(transpose.__wrapped__)


@compiled_by_type(
    "boolean(float32, int64[:, ::1], int64[::1], int64)",
    "boolean(float64, int64[:, ::1], int64[::1], int64)",
)
def work(zero: Any, table: Any, counts: Any, batch: int) -> bool:
    """Does what is left of a table, beside others that may do the same.

    Args:
        zero: A zero of the type of all numbers.
        table: Shape ``(operations, COLUMNS)``.
        counts: Zero before the first thread begins. Shape ``(2 * operations * COUNTS,)``.
        batch: The number of samples.

    Returns:
        Whether all is done. Otherwise others are at work on the rest, and the caller may sleep and
        call again.
    """
    for k in range(len(table)):
        blocks = table[k, 10]
        before = table[k, 13]
        if before >= 0 and not _done(counts, before, table[before, 10]):
            return False
        claims, finished = counts[2 * k * COUNTS :], counts[(2 * k + 1) * COUNTS :]
        part = count_one(claims.ctypes.data)
        while part < blocks:
            first = _bound(table[k], part)
            last = _bound(table[k], part + 1)
            _block(zero, table[k], batch, first, last)
            count_one(finished.ctypes.data)
            part = count_one(claims.ctypes.data)
    for k in range(len(table)):  # noqa: SIM110  # numba has no generators in `all`
        if not _done(counts, k, table[k, 10]):
            return False
    return True


@Template
def _done(counts: Any, k: int, blocks: int) -> bool:
    """Whether an operation is done, if need be after a while."""
    finished = counts[(2 * k + 1) * COUNTS :].ctypes.data
    for _ in range(PATIENCE):
        if counted(finished) == blocks:
            return True
        pause()
    return bool(counted(finished) == blocks)


@Template
def _bound(row: Any, part: int) -> int:
    """The first row of a block: all blocks have about the same work."""
    rows, blocks = int(row[9]), int(row[10])
    if part == 0 or part == blocks:  # noqa: PLR1714  # numbers in a kernel
        return 0 if part == 0 else rows
    if row[0] == ADD_UP:
        return rows * part // blocks
    if row[0] == TRANSPOSE:
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
    """One block of one operation."""
    if first == last:
        return
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
    else:
        _transpose(zero, (row[1], row[2]), row[9], row[14], block)


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
