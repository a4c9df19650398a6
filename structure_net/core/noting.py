"""Chains that run batch after batch, while what somebody wants of their values is noted on the way.

A pass of a chain over a batch is one compiled call (`sparse_chains`). What it notes (sums of each
unit, and the rows that a sample takes) is written by the same call to where it stays, so that no
value between the layers is handed to Python, and memory is given out once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from structure_net.core.note_kernels import scratch
from structure_net.core.simd import LINE
from structure_net.core.sparse_chains import Links
from structure_net.core.sparse_compute import (
    address_of,
    lies_features_first,
    like_features_first,
)
from structure_net.core.sparse_passes import Pass
from structure_net.core.unit_kernels import LONGEST

_READ: Final = 1
"""Columns of a table (`pass_kernels`): what is read, where a product is written, and of what is
noted where sums stand and where rows are, from where on all that says which."""
_SUMMED: Final = 2
_WRITTEN: Final = 4
_ROWS: Final = 3


class Chain(NamedTuple):
    """A chain that is to be computed, as `sparse_chains.chained` takes it."""

    inputs: Tensor
    parameters: Sequence[Tensor | None]
    links: Links


class Picked(NamedTuple):
    """Which samples of a batch are copied, and where to.

    Args:
        which: The samples. Shape ``(n,)``, int64.
        places: Their rows in each of ``rows``. Shape ``(n,)``, int64.
        rows: Of each product. Shape ``(places, out)``.
    """

    which: Tensor
    places: Tensor
    rows: Sequence[Tensor]


class ChainNotes:
    """What is noted of one chain, over all batches.

    Of the inputs, the first two sums alone are added up; then come those of each product behind its
    ReLU.

    Attributes:
        count: The number of samples.
        sums: `unit_sums.SUMS`, of inputs the first two, float64. Shape ``(6, units)`` or
            ``(2, units)`` each; none before the first batch.
    """

    def __init__(self, links: Links) -> None:
        self.count = 0
        self.sums: list[Tensor] = []
        self._widths = links.widths
        self._known: tuple[object, ...] = ()
        self._held = torch.empty(0)
        self._pass = Pass(0)
        self._first, self._last = -1, 0
        self._notes: list[int] = []

    def told(self) -> tuple[int, list[Tensor]]:
        """``count`` and ``sums`` as they are, which begin anew."""
        told = self.count, self.sums
        self.count, self.sums = 0, []
        return told

    def fits(self, chain: Chain) -> bool:
        """Whether `run` can compute ``chain``, which must be one that `chained` can compute."""
        inputs, links = chain.inputs, chain.links
        most = LONGEST * LINE // inputs.element_size()
        lies = inputs.is_contiguous() or lies_features_first(inputs)
        fits = links.widths == self._widths and 0 < len(inputs) <= most
        return fits and lies and not inputs.is_neg()

    def run(self, chain: Chain, picked: Picked | None) -> Tensor:
        """Computes a chain and notes what it gives.

        Args:
            chain: Fits.
            picked: The rows to copy, if any.

        Returns:
            What `chained` gives without gradients, bit for bit.

        Raises:
            RuntimeError: The memory of a tensor was freed.
        """
        inputs, parameters, links = chain
        turned, read = not lies_features_first(inputs), address_of(inputs)
        places = [0 if one is None else address_of(one) for one in parameters]
        known = inputs.shape, inputs.dtype, turned, links, places, torch.get_num_threads()
        if not self.sums:
            sums = _nothing(self._widths)
            for note, one in zip(self._notes, sums, strict=False):
                self._pass.place(note, _SUMMED, (one.data_ptr(),))
            self.sums = sums
        if known != self._known:
            self._plan(chain, turned)
            self._known = known
        outputs = like_features_first(inputs, links[-1].places.shape[0])
        way = self._pass.again()
        way.place(self._first, _READ, (read,))
        way.place(self._notes[0], _READ, (read,))
        way.place(self._last, _WRITTEN, (outputs.data_ptr(),))
        way.place(self._notes[-1], _READ, (outputs.data_ptr(),))
        if picked is not None and len(picked.which):
            some = picked.which.data_ptr(), picked.places.data_ptr(), len(picked.which)
            for note, rows in zip(self._notes[1:], picked.rows, strict=True):
                way.place(note, _ROWS, (rows.data_ptr(), *some, *reversed(rows.stride())))
            way.keep(picked.which, picked.places, *picked.rows)
        way.keep(inputs, outputs, *parameters, *self.sums)
        way.run(inputs.dtype)
        self.count += inputs.shape[0]
        return outputs

    def _plan(self, chain: Chain, turned: bool) -> None:
        """Gives memory to what lies between, and lists the operations."""
        inputs, parameters, links = chain
        batch, width = inputs.shape
        sizes = [link.places.shape[0] for link in links[:-1]]
        self._held = inputs.new_empty((turned * width + sum(sizes), batch))
        step, address = self._held.element_size() * batch, self._held.data_ptr()
        way, after, read = Pass(batch), -1, inputs.data_ptr()
        if turned:
            after = way.transpose((read, address), width, batch, noted=True)
            room = torch.empty(scratch(width), dtype=torch.uint8)
            tensors = read, self.sums[0].data_ptr(), room.data_ptr()
            self._notes = [way.note_rows(tensors, width, 2, behind=True)]
            way.keep(room)
            read, address = address, address + width * step
        else:
            self._notes = [way.note((read, self.sums[0].data_ptr()), width, 2, behind=False)]
        for number, (index, rectified) in enumerate(links):
            weights, bias = parameters[2 * number], parameters[2 * number + 1]
            assert weights is not None
            products = read, weights.data_ptr(), 0 if bias is None else bias.data_ptr(), address
            self._last = after = way.multiply(
                products, index, rectified=rectified, noted=True, after=after
            )
            if not number:
                self._first = 0 if turned else after
            made = address, self.sums[number + 1].data_ptr()
            self._notes.append(way.note(made, index.shape[0], 6, behind=True))
            read, address = address, address + index.shape[0] * step
        way.keep(self._held)
        self._pass = way


def _nothing(widths: Sequence[int]) -> list[Tensor]:
    """The sums of no values: of inputs, and of each product."""
    inputs, *products = widths
    ends = [*accumulate((6 * width for width in products), initial=2 * inputs)]
    flat = np.zeros(ends[-1])
    parts = [flat[: ends[0]].reshape(2, -1)]
    for start, end in pairwise(ends):
        part = flat[start:end].reshape(6, -1)
        part[4], part[5] = np.inf, -np.inf
        parts.append(part)
    return [*map(torch.from_numpy, parts)]
