"""Activations that come batch after batch, of which somebody wants notes.

Sums of each unit and the rows that a sample takes are written where they stay by one compiled call
for each activation (`row_kernels`), while it lies in the cache of the processor that computed it,
on as many threads as pay. The ReLU behind a layer is part of that call.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate
from math import prod
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from structure_net.core import row_kernels
from structure_net.core.noting import Picked
from structure_net.core.simd import LINE
from structure_net.core.sparse_compute import address_of
from structure_net.core.sparse_passes import SHARED_WORK, ZEROS
from structure_net.core.teams import in_team
from structure_net.core.unit_kernels import LONGEST

_HELP: Final = {
    torch.float32: row_kernels.help_with_singles,
    torch.float64: row_kernels.help_with_doubles,
}
_BLOCKS: Final = 4
"""Blocks for each thread."""
_ROOM: Final = 2
_CLAIMED: Final = 12
"""Columns of a table: the address of memory to write on, how many blocks are claimed, and from
where on all that says what is copied."""
_PICKED: Final = 13


class Wanted(NamedTuple):
    """What is noted of one activation.

    Args:
        units: How many it has.
        ends: Whether all `unit_sums.SUMS` are wanted; else the first two sums alone.
        rows: Whether the samples that are picked are copied.
    """

    units: int
    ends: bool
    rows: bool


class Told(NamedTuple):
    """What was noted of one activation.

    Args:
        first: `unit_sums.SUMS` of the first batch, or the first two. Shape ``(6, units)`` or
            ``(2, units)``, float64.
        others: The same of all batches behind it, if there are any.
        values: How many of each unit were summed.
    """

    first: Tensor
    others: Tensor | None
    values: int


class _Table:
    """How an activation is noted that lies like this.

    Args:
        values: It.
        wanted: Of it.
        sums: Where its sums are.

    Attributes:
        numbers: See `row_kernels.COLUMNS`.
        address: Where they are.
        key: The shape, strides and type of what is noted.
        count: How many values each unit has.
        room: The bytes that it is noted on.
        threads: How many are at work.
    """

    def __init__(self, values: Tensor, wanted: Wanted, sums: int) -> None:
        self.key = values.shape, values.stride(), values.dtype
        kind, runs, length, steps = _layout(values)
        self.count, parts = runs * length, _parts(wanted)
        self.room = row_kernels.room(wanted.units, kind)
        threads, work = torch.get_num_threads(), values.numel() * parts
        self.threads = threads if work >= SHARED_WORK else 1
        shape = wanted.units, runs, length, *steps
        blocks = _BLOCKS * self.threads
        self.numbers = array("q", (0, sums, 0, *shape, parts, 0, kind, blocks, *[0] * 7))
        self.address: int = self.numbers.buffer_info()[0]


class RowNotes:
    """What is noted of several activations, over all batches.

    Args:
        wanted: Of each.
    """

    def __init__(self, wanted: Sequence[Wanted]) -> None:
        self._wanted = tuple(wanted)
        sizes = [_parts(one) * one.units for one in wanted]
        self._ends = list(accumulate(sizes, initial=0))
        self._sums = np.zeros((2, self._ends[-1]))
        for end, (units, ends, _) in zip(self._ends[1:], wanted, strict=True):
            if ends:
                self._sums[:, end - 2 * units : end - units] = np.inf
                self._sums[:, end - units : end] = -np.inf
        self._room = np.empty(0, np.uint8)
        self._address: int = self._sums.ctypes.data
        self._tables: list[_Table | None] = [None] * len(self._wanted)
        self._counts = [0] * len(self._wanted)
        self._batches = 0

    def take(
        self, number: int, values: Tensor, rows: Tensor | None, picked: Picked | None, *, gate: bool
    ) -> Tensor:
        """Takes in what a batch holds of one of the activations.

        Args:
            number: Which one.
            values: A plain tensor on the processor, of a type that kernels know, and of at least
                one sample. Shape ``(batch, units, *positions)``. What is of other units is left
                out: whoever takes it will refuse it.
            rows: Where the samples that are picked are copied to. Shape ``(places, units)``.
            picked: Which these are, if any.
            gate: Whether a ReLU comes first, which may write to ``values``.

        Returns:
            ``values``, behind the ReLU if there is one, as torch's gives them bit for bit.

        Raises:
            RuntimeError: The memory of a tensor was freed.
        """
        table = self._tables[number]
        if table is None or table.key != (values.shape, values.stride(), values.dtype):
            if values.shape[1] != self._wanted[number].units:
                return values.relu() if gate else values
            if not _lies(values):
                values = values.relu() if gate else values
                self.take(number, values.contiguous(), rows, picked, gate=False)
                return values
            table = self._table(number, values)
        numbers = table.numbers
        numbers[0], numbers[9] = address_of(values), gate
        if rows is not None and picked is not None:
            some = picked.which.shape[0], picked.which.data_ptr(), picked.places.data_ptr()
            units, places = rows.stride(1), rows.stride(0)
            numbers[_PICKED:] = array("q", (*some, rows.data_ptr(), units, places))
        else:
            numbers[_PICKED] = 0
        self._counts[number] += table.count
        _note(table, values.dtype)
        return values

    def rest(self) -> None:
        """A batch is over: sums of the first stay apart."""
        self._batches += 1
        if self._batches == 1:
            for table in self._tables:
                if table is not None:
                    table.numbers[1] += self._sums.strides[0]

    def told(self) -> list[Told]:
        """What was noted of each activation, of at least one batch."""
        found = []
        for place, (one, count) in enumerate(zip(self._wanted, self._counts, strict=True)):
            start, end, shape = *self._ends[place : place + 2], (_parts(one), one.units)
            first, others = (
                torch.from_numpy(part[start:end].reshape(shape)) for part in self._sums
            )
            found.append(Told(first, others if self._batches > 1 else None, count))
        return found

    def _table(self, number: int, values: Tensor) -> _Table:
        rest = self._sums.strides[0] if self._batches else 0
        sums = self._address + 8 * self._ends[number] + rest
        found = self._tables[number] = _Table(values, self._wanted[number], sums)
        if found.room > len(self._room):
            self._room = np.empty(found.room, np.uint8)
        for table in self._tables:
            if table is not None:
                table.numbers[_ROOM] = self._room.ctypes.data
        return found


def _parts(wanted: Wanted) -> int:
    """How many of the sums are wanted."""
    return 6 if wanted.ends else 2


def _note(table: _Table, kind: torch.dtype) -> None:
    """Notes what a table says."""
    if table.threads > 1:
        table.numbers[_CLAIMED] = 0
        if in_team(_HELP[kind], table.address, table.threads):
            return
    row_kernels.note(ZEROS[kind], table.address)


def _layout(values: Tensor) -> tuple[int, int, int, tuple[int, int]]:
    """How values lie; how many runs there are, and values of a unit in each; and how far runs lie
    apart, and units."""
    batch, units, *positions = values.shape
    length = prod(positions)
    if length > 1:
        return row_kernels.RUNS, batch, length, (units * length, length)
    run, step = (units, 1) if positions else values.stride()
    if run == 1:
        step = batch if units == 1 else step
        near = step == batch <= LONGEST * LINE // values.element_size()
        return row_kernels.TOGETHER if near else row_kernels.RUNS, 1, batch, (0, step)
    return row_kernels.ROWS, batch, 1, (run, 1)


def _lies(values: Tensor) -> bool:
    """Whether kernels read values that lie like this."""
    if values.dim() > 2:
        return values.is_contiguous()
    return values.stride(1) == 1 or values.stride(0) == 1
