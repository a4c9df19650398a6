"""Tensors that come batch after batch, a row for each sample, of which somebody wants notes.

Sums of each unit and the rows that a sample takes are written where they stay by one compiled call
for several tensors at once, on as many threads as pay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor

from structure_net.core.note_kernels import scratch
from structure_net.core.noting import Notes, Picked
from structure_net.core.simd import LINE
from structure_net.core.sparse_compute import address_of
from structure_net.core.sparse_passes import Pass
from structure_net.core.unit_kernels import LONGEST

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
        self._passes: dict[tuple[int, int, int], Pass] = {}

    def fits(self, inputs: Tensor) -> bool:
        """Whether batches like that of ``inputs`` can be taken in: units alone, whose values are
        one run, in so many lines."""
        most = LONGEST * LINE // inputs.element_size()
        return inputs.shape[0] <= most or all(one.units > 1 for one in self._wanted)

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
        values = [one if _side_by_side(one) else one.contiguous() for one in values]
        way = self._pass(first, len(values), values[0].shape[0]).again()
        before = sum(one.ends for one in self._wanted[:first])
        number = 0 if picked is None else picked.which.shape[0]
        rows = iter(picked.rows[before:] if picked is not None and number else ())
        for place, (one, wanted) in enumerate(zip(values, self._wanted[first:], strict=False)):
            way.place(place, _READ, (address_of(one),))
            way.place(place, _STEP, (one.stride(0),))
            to = next(rows, None) if wanted.ends else None
            if to is not None and picked is not None:
                some = picked.which.data_ptr(), picked.places.data_ptr(), number
                way.place(place, _ROWS, (to.data_ptr(), *some, *reversed(to.stride())))
                way.keep(to)
        way.keep(*values, *(() if picked is None else picked[:2]))
        way.run(values[0].dtype)

    def _pass(self, first: int, number: int, batch: int) -> Pass:
        """The operations, without the addresses that change."""
        key = first, number, batch
        if key not in self._passes:
            way = Pass(batch)
            for place in range(first, first + number):
                units, ends = self._wanted[place]
                sums, parts = self.sums[place].data_ptr(), 6 if ends else 2
                if units == 1:
                    way.note((0, sums), units, parts, behind=False)
                else:
                    tensors = 0, sums, self._room[place].data_ptr()
                    way.note_rows(tensors, units, parts, behind=False)
            way.keep(*self.sums, self._room)
            self._passes[key] = way
        return self._passes[key]


def _side_by_side(values: Tensor) -> bool:
    """Whether units lie side by side, or the values of a unit alone."""
    rows, units = values.stride()
    return units == 1 and (values.shape[1] > 1 or rows == 1)
