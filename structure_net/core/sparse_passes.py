"""Several products with live weights in one compiled call, on as many threads as pay."""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from copy import copy
from functools import cache, partial
from typing import Any, Final, NamedTuple

import numpy as np
import torch

from structure_net.core import pass_kernels
from structure_net.core.compiling import wide_registers
from structure_net.core.live_index import LiveIndex
from structure_net.core.teams import in_team
from structure_net.core.threads import invite

ZEROS: Final[dict[torch.dtype, Any]] = {
    torch.float32: np.float32(0),
    torch.float64: np.float64(0),
}
"""The types that kernels compute in, and a zero of each."""

SHARED_WORK: Final = 1_000_000
"""Products of a weight and a sample in a pass, some tens of microseconds, below which PyTorch's
threads gain nothing."""
THREADED_WORK: Final = 50_000_000
"""The same, some milliseconds, where PyTorch's threads are not to be had: after each parallel
operation, such as a loss, they spin for milliseconds on the cores that ours would run on."""

_HELP: Final = {
    torch.float32: pass_kernels.help_with_singles,
    torch.float64: pass_kernels.help_with_doubles,
}
_BLOCK: Final = 2**16
"""Products in a block, about: some microseconds."""
_ROWS: Final = 32
"""Rows in a block, at most: what is written stays in the nearest cache for what follows."""
_BLOCKS: Final = 16
"""Blocks for each thread, at most."""
_SLOTS: Final = -(2**62)
"""The first of the slots; no address is below 0."""
_REACH: Final = 2**40
"""Bytes that an address may lie behind a slot."""
_REST: Final = 2e-5
"""Seconds that a thread sleeps while it waits for the last blocks of others."""


class _Lines(NamedTuple):
    """The widest tiles whose sums stay in registers, in lines, by kernel."""

    multiply: int
    differentiate: int
    sample: int


class Pass:
    """Operations on addresses, in order; `run` does them.

    Callers keep the tensors alive whose addresses they give, and answer for sizes, as those of
    `sparse_kernels` do. Each method returns the operation's number, which others may wait for.

    Args:
        batch: The number of samples.
    """

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._kept: list[object] = []
        threads = torch.get_num_threads()
        self._shared = threads > 1
        self._most = _BLOCKS * max(threads, 2)
        self._table = array("q")
        self._length = 0
        self._work = 0

    def multiply(
        self,
        tensors: tuple[int, ...],
        index: LiveIndex,
        *,
        by_column: bool = False,
        rectified: bool = False,
        noted: bool = False,
        after: int = -1,
    ) -> int:
        """Adds `sparse_kernels.multiply`, with or without a ReLU behind it.

        Args:
            tensors: Its tensors.
            index: Of the weights.
            by_column: Whether to multiply with the transpose.
            rectified: Whether negative results are written as 0.
            noted: Whether `note` is called next, of what this writes.
            after: The operation that must be done before; none if -1.
        """
        places = index.by_column if by_column else index.by_row
        row = (pass_kernels.MULTIPLY, *tensors, 0, *places)
        return self._add(row, index, _lines().multiply, (by_column, rectified, noted, after))

    def differentiate(
        self,
        tensors: tuple[int, ...],
        index: LiveIndex,
        *,
        rectified: bool = False,
        after: int = -1,
    ) -> int:
        """Adds `sparse_kernels.differentiate`.

        Args:
            tensors: Its tensors.
            index: Of the weights.
            rectified: Whether inputs are results of a ReLU, which the gradient goes through.
            after: The operation that must be done before; none if -1.
        """
        row = (pass_kernels.DIFFERENTIATE, *tensors, *index.by_column)
        return self._add(row, index, _lines().differentiate, (True, rectified, False, after))

    def sample(self, tensors: tuple[int, ...], index: LiveIndex, *, after: int = -1) -> int:
        """Adds `sparse_kernels.sample`."""
        row = (pass_kernels.SAMPLE, *tensors, 0, 0, *index.by_row)
        return self._add(row, index, _lines().sample, (False, False, False, after))

    def add_up(self, tensors: tuple[int, ...], rows: int, *, after: int = -1) -> int:
        """Adds `sparse_kernels.add_up`."""
        blocks = self._blocks(rows, rows * self._batch // 8)
        self._table.extend((pass_kernels.ADD_UP, *tensors, 0, 0, 0, 0, 0, 0, rows, blocks, 1, 0))
        self._table.extend((after, 0, 0))
        return self._count()

    def sum_up(self, tensors: tuple[int, int], rows: int, *, after: int = -1) -> int:
        """Adds `unit_kernels.sum_runs`, one run for each unit.

        Args:
            tensors: Its tensors.
            rows: The number of units.
            after: The operation that must be done before; none if -1.
        """
        blocks = self._blocks(rows, rows * self._batch // 2)
        self._table.extend((pass_kernels.SUM_UP, *tensors, 0, 0, 0, 0, 0, 0, rows, blocks, 1, 0))
        self._table.extend((after, 0, 0))
        return self._count()

    def note(self, tensors: tuple[int, int], rows: int, wanted: int, *, behind: bool) -> int:
        """Adds `note_kernels.take_in`, and room for a `note_kernels.pick` of the same values.

        Args:
            tensors: Values and sums.
            rows: The number of units.
            wanted: How many of the sums are wanted, 2 or 6.
            behind: Whether the last operation, which was added as ``noted``, writes these values:
                what is noted of a block lies in the nearest cache then. Else they are there before.
        """
        blocks = 0 if behind else self._blocks(rows, rows * self._batch // 2)
        self._table.extend((pass_kernels.NOTE, *tensors, 0, 0, 0, 0, 0, 0, rows, blocks, wanted, 0))
        self._table.extend((-1, 0, 0))
        return self._count()

    def note_rows(
        self, tensors: tuple[int, int, int], units: int, wanted: int, *, behind: bool
    ) -> int:
        """Adds `note_kernels.take_in_rows`, and room for a `note_kernels.pick_rows` of the same.

        Rows lie without gaps unless they are `place`d otherwise.

        Args:
            tensors: Its tensors.
            units: Their number.
            wanted: How many of the sums are wanted, 2 or 6.
            behind: Whether they are what the last operation reads, a noted `transpose`.
        """
        blocks = 0 if behind else self._blocks(units, units * self._batch // 2)
        row = (pass_kernels.NOTE_ROWS, *tensors[:2], 0, 0, 0, 0, 0, 0, units, blocks, wanted, units)
        self._table.extend((*row, -1, tensors[2], 0))
        if not behind:
            self._work += units * self._batch
        return self._count()

    def again(self) -> Pass:
        """A pass of the same operations, which may be `place`d elsewhere."""
        twin = copy(self)
        twin._table, twin._kept = self._table[:], [self._kept]
        return twin

    def place(self, operation: int, first: int, numbers: Sequence[int]) -> None:
        """Gives one of the operations other addresses, or whatever numbers a table has.

        Args:
            operation: Its number.
            first: The first of the columns of a table (`pass_kernels.COLUMNS`) that are written.
            numbers: What stands there and behind it.
        """
        start = operation * pass_kernels.COLUMNS + first
        self._table[start : start + len(numbers)] = array("q", numbers)

    def transpose(
        self, tensors: tuple[int, ...], width: int, height: int, *, noted: bool = False
    ) -> int:
        """Adds `sparse_kernels.transpose`; ``noted`` as for `multiply`.

        Raises:
            RuntimeError: The tensors were let go of.
        """
        if width * height and not tensors[0]:
            raise RuntimeError(freed())
        blocks = self._blocks(width, width * height)
        self._table.extend((pass_kernels.TRANSPOSE, *tensors, 0, 0, 0, 0, 0, 0, width, blocks, 1))
        self._table.extend((0, -1, height, noted))
        return self._count()

    def keep(self, *tensors: torch.Tensor | None) -> None:
        """Keeps tensors alive as long as the pass itself, and as any thread works for it."""
        self._kept.extend(tensors)

    def run(self, dtype: torch.dtype) -> None:
        """Does all operations.

        Args:
            dtype: Of all numbers.
        """
        if self._length:
            Plan(self._table, self._work, self._batch, self._kept).run((), dtype)

    def planned(self, *, owner: object = None) -> Plan:
        """The operations as they are now; addresses may be `slot`s, or some bytes behind one.

        Args:
            owner: Who keeps the plan, and is not kept by it: whoever runs it does.
        """
        kept = [one for one in self._kept if one is not owner]
        return Plan(self._table, self._work, self._batch, kept, _slots_in(self._table))

    def _add(
        self, row: tuple[int, ...], index: LiveIndex, lines: int, how: tuple[bool, bool, bool, int]
    ) -> int:
        by_column, rectified, noted, after = how
        rows, products = index.shape[by_column], self._batch * index.count
        if products and 0 in row[1:3]:
            raise RuntimeError(freed())
        self._kept.append(index)
        # What is rectified lies in the nearest cache then; else blocks are for several threads.
        blocks = self._blocks(rows, products) if self._shared or rectified or noted else 1
        self._table.extend((*row, rows, blocks, lines, rectified, after, 0, noted))
        self._work += products
        return self._count()

    def _count(self) -> int:
        self._length += 1
        return self._length - 1

    def _blocks(self, rows: int, products: int) -> int:
        return max(1, min(max(rows // _ROWS, products // _BLOCK), rows, self._most))


class Plan:
    """Operations that are done again and again, each time with other tensors; see `Pass.planned`.

    Args:
        table: Of `pass_kernels`.
        work: Products of a weight and a sample.
        batch: The number of samples.
        kept: What lives as long as any thread works at it.
        slots: Places in the table, each with the number of its slot and the bytes behind it.
    """

    def __init__(
        self,
        table: array[int],
        work: int,
        batch: int,
        kept: Sequence[object],
        slots: Sequence[tuple[int, int, int]] = (),
    ) -> None:
        length = len(table) // pass_kernels.COLUMNS
        self._threads = torch.get_num_threads() if work >= SHARED_WORK else 1
        self._work, self._kept = work, kept
        counts = pass_kernels.LINE * length * (1 + self._threads)
        self._begin = 8 * (pass_kernels.LINE + counts)
        # The call, a count of each operation and of each share of it, the operations.
        self._memory = array("q", bytes(self._begin))
        self._memory[2:5] = array("q", (length, self._threads, batch))
        self._memory += table
        first = len(self._memory) - len(table)
        self._open = [(first + place, number, behind) for place, number, behind in slots]

    def run(self, addresses: Sequence[int], dtype: torch.dtype, kept: object = None) -> None:
        """Does all operations.

        Args:
            addresses: Of the tensors that stand in the slots, and fit the operations; 0 where there
                is no bias.
            dtype: Of all numbers.
            kept: Lives as long as any thread works at it, too.
        """
        memory = self._memory[:]
        call = memory.buffer_info()[0]
        memory[0], memory[1] = call + self._begin, call + 8 * pass_kernels.LINE
        for place, slot, offset in self._open:
            memory[place] = addresses[slot] + offset
        zero, threads = ZEROS[dtype], self._threads
        if threads == 1 or in_team(_HELP[dtype], call, threads) or self._work < THREADED_WORK:
            # Of what a team did nothing is left, unless it was smaller than was asked.
            _finish(zero, call)
            return
        held = self._kept, memory, kept
        try:
            invite([partial(_help, zero, call, thread, held) for thread in range(1, threads)])
            _finish(zero, call)
        except BaseException:
            # An interrupt: whoever gets it finds no tensor that is still written.
            _finish(zero, call)
            raise


def slot(number: int) -> int:
    """What stands for the address of a tensor in a `Plan`, and may be counted on from."""
    return _SLOTS + number * _REACH


def _slots_in(table: array[int]) -> list[tuple[int, int, int]]:
    """Where slots stand in a table, which they are, and how many bytes behind them."""
    return [
        (place, *divmod(number - _SLOTS, _REACH))
        for place, number in enumerate(table)
        if number < -1
    ]


def freed() -> str:
    """What to say of a tensor without memory."""
    return (
        "A tensor that is multiplied with live weights has no memory: its storage was freed, as "
        "sharded training does between steps. Give it memory before the layer runs."
    )


def _finish(zero: Any, call: int) -> None:
    """Works, and waits for others, until all is done."""
    while not pass_kernels.work(zero, call, 0):
        time.sleep(_REST)  # asked again, not told: an interrupt can swallow what tells


def _help(zero: Any, call: int, thread: int, held: object) -> bool:
    """Does a share of the work, and holds what it needs meanwhile."""
    del held
    return pass_kernels.work(zero, call, thread)


@cache
def _lines() -> _Lines:
    """Measured: more lines than registers hold are written to memory and read back."""
    return _Lines(8, 8, 8) if wide_registers() else _Lines(4, 4, 4)
