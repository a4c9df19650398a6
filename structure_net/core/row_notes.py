"""Tensors that come batch after batch, a row for each sample, of which somebody wants notes.

Sums of each unit and the rows that a sample takes are written where they stay by one compiled call
for several tensors at once, on as many threads as pay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor

from structure_net.core.note_kernels import scratch
from structure_net.core.noting import Notes, Picked
from structure_net.core.simd import LINE
from structure_net.core.sparse_compute import address_of
from structure_net.core.sparse_passes import ZEROS, Pass
from structure_net.core.unit_kernels import LONGEST, add_sums
from structure_net.core.unit_sums import unit_sums

_READ: Final = 1
"""Columns of a table (`pass_kernels`): where values are, where rows are, from where on all that
says which, and how far rows of values lie apart."""
_ROWS: Final = 3
_STEP: Final = 12


class Wanted(NamedTuple):
    """What is noted of one tensor.

    Args:
        units: How many it has.
        ends: Whether all `unit_sums.SUMS` are wanted, and rows; else the first two sums alone.
    """

    units: int
    ends: bool


class RowNotes(Notes):
    """What is noted of several tensors, over all batches.

    Args:
        wanted: Of each.
    """

    def __init__(self, wanted: Sequence[Wanted]) -> None:
        super().__init__([one.units for one in wanted])
        self._wanted = tuple(wanted)
        most = scratch(max(one.units for one in wanted))
        self._room = torch.empty(len(wanted), most, dtype=torch.uint8)
        self._passes: dict[tuple[object, ...], Pass] = {}

    def take(self, first: int, values: Sequence[Tensor], picked: Picked | None) -> None:
        """Takes in what a batch holds of some of the tensors.

        Args:
            first: The number of the first of them.
            values: They and those that follow, plain ones on the processor, of a type that kernels
                know, and of at least one row. Shape ``(batch, units)``.
            picked: The rows to copy, if any, with ``rows`` of all tensors that are ends.

        Raises:
            RuntimeError: The memory of a tensor was freed.
        """
        longest = LONGEST * LINE // values[0].element_size()
        if values[0].shape[0] > longest and any(map(_in_runs, values)):
            self._take_long(first, values, picked)
            return
        values = [one if _in_runs(one) or _in_rows(one) else one.contiguous() for one in values]
        way = self._pass(first, values).again()
        for place, (one, to) in enumerate(zip(values, self._places(first, picked), strict=False)):
            way.place(place, _READ, (address_of(one),))
            if not _in_runs(one):
                way.place(place, _STEP, (one.stride(0),))
            if to is not None and picked is not None:
                some = picked.which.data_ptr(), picked.places.data_ptr(), picked.which.shape[0]
                way.place(place, _ROWS, (to.data_ptr(), *some, *reversed(to.stride())))
                way.keep(to)
        way.keep(*values, *(() if picked is None else picked[:2]))
        way.run(values[0].dtype)

    def _take_long(self, first: int, values: Sequence[Tensor], picked: Picked | None) -> None:
        """`take` of runs that are longer than a kernel takes in."""
        places = self._places(first, picked)
        for one, mine, to in zip(values, self.sums[first:], places, strict=False):
            sums = unit_sums(one)
            assert sums is not None
            add_sums(ZEROS[torch.float64], (sums.data_ptr(), mine.data_ptr()), one.shape[1])
            if to is not None and picked is not None:
                to.index_copy_(0, picked.places, one.index_select(0, picked.which))

    def _places(self, first: int, picked: Picked | None) -> Iterator[Tensor | None]:
        """Where rows of each tensor are copied to, from the first one on."""
        wanted = self._wanted
        if picked is None or not picked.which.shape[0]:
            return (None for _ in wanted[first:])
        rows = iter(picked.rows[sum(one.ends for one in wanted[:first]) :])
        return (next(rows) if one.ends else None for one in wanted[first:])

    def _pass(self, first: int, values: Sequence[Tensor]) -> Pass:
        """The operations, without the addresses that change."""
        runs = tuple(map(_in_runs, values))
        key = first, runs, values[0].shape[0]
        if key not in self._passes:
            way = Pass(values[0].shape[0])
            for place, in_runs in enumerate(runs, first):
                units, ends = self._wanted[place]
                sums, parts = self.sums[place].data_ptr(), 6 if ends else 2
                if in_runs:
                    way.note((0, sums), units, parts, behind=False)
                else:
                    tensors = 0, sums, self._room[place].data_ptr()
                    way.note_rows(tensors, units, parts, behind=False)
            way.keep(*self.sums, self._room)
            self._passes[key] = way
        return self._passes[key]


def _in_runs(values: Tensor) -> bool:
    """Whether the values of a unit lie together, and units without gaps."""
    rows, units = values.stride()
    return rows == 1 and (units == values.shape[0] or values.shape[1] == 1)


def _in_rows(values: Tensor) -> bool:
    """Whether the units of a row lie together, of which there are several."""
    return values.stride(1) == 1 and values.shape[1] > 1
