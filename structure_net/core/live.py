"""Weights of a sparse layer as a list of those that exist: how they rearrange, at a cost that
follows their number.

Every edit says of each weight afterwards which weight it was before, if any; values and the state
that optimizers hold follow from that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

import torch
from torch import Tensor

from structure_net.core.capturing import capturing
from structure_net.core.index_kernels import (
    exchange_places,
    find_places,
    index_places,
    list_places,
    merge_places,
)
from structure_net.core.live_index import LiveIndex
from structure_net.core.pair_edits import refuse_misfit
from structure_net.core.rearranging import Born, Carry, Places, along, gathered
from structure_net.core.sparsity import SparsePattern, ascend


@dataclass(frozen=True, slots=True)
class Live:
    """Weights in the order of their pattern; its methods return what becomes of them, and change
    nothing.

    Args:
        weight: Shape ``(n, *kernel)``.
        index: Where they stand.
    """

    weight: Tensor
    index: LiveIndex

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of output and of input units."""
        return self.index.shape

    @property
    def kernel(self) -> tuple[int, ...]:
        """The kernel's shape, empty of a linear layer."""
        return tuple(self.weight.shape[1:])

    @property
    def count(self) -> int:
        """The number of connections."""
        return len(self.weight)

    def fan_in(self) -> Tensor:
        """Connections into each output unit. Shape ``(outputs,)``, int64."""
        return self.index.offsets.diff().long()

    def fan_out(self) -> Tensor:
        """Connections out of each column of the pattern. Shape ``(inputs,)``, int64."""
        return self.index.column_offsets.diff().long()

    def pattern(self) -> SparsePattern:
        """The connections, sorted by row and then by column."""
        return self.index.pattern

    def reindexed(
        self, dim: int, index: Tensor, *, scale: Tensor | None = None, born: Born | None = None
    ) -> tuple[Live, Carry]:
        """After the units along ``dim`` follow an index map, -1 for a new unit.

        Args:
            dim: 0 for output units, 1 for input units.
            index: Shape ``(m,)``, int64.
            scale: What the units' entries are multiplied with. Shape ``(m,)``.
            born: The connections of new units; none if None.
        """
        keys, source = (self._by_rows if dim == 0 else self._by_columns)(index)
        shape = (len(index), self.shape[1]) if dim == 0 else (self.shape[0], len(index))
        weight = self.weight[source]
        if scale is not None:
            units = keys // shape[1] if dim == 0 else keys % shape[1]
            weight = weight * along(scale.to(weight)[units], 0, weight.dim())
        if born is None:
            return Live(weight, _indexed(keys, shape)), _carry(source)
        new = (born.rows * shape[1] + born.columns).to(keys.device)
        whole, place = _inserted(keys, new)
        made = _indexed(whole, shape)
        values = weight.new_zeros(len(new), *self.kernel)
        if born.noise is not None:
            values = born.weights(made.offsets.diff().long().to(born.rows.device), weight)
        both = torch.cat((weight, values))[place]
        origin = torch.cat((source, source.new_full((len(new),), -1)))[place]
        return Live(both, made), _carry(origin)

    def moved(self, gone: Places, come: Places, values: Tensor) -> tuple[Live, Carry]:
        """Without the weights at some places, and with others at places that are free or left.

        Args:
            gone: The places of those that go.
            come: The places of those that come.
            values: Their weights. Shape ``(n, *kernel)``.

        Raises:
            SurgeryError: See `refuse_misfit`.
        """
        if not self._compiles or len(gone[0]) >= max(self.count, 1):
            refuse_misfit(self, gone, come)
        leaving, coming = (rows * self.shape[1] + columns for rows, columns in (gone, come))
        moved = self._exchanged(self.weight, leaving, coming, values)
        if moved is None:
            refuse_misfit(self, gone, come)
        assert moved is not None
        return moved

    def merged(self, kept: Tensor, dropped: Tensor, part: float) -> tuple[Live, Carry]:
        """With ``part`` of the weights from ``dropped`` inputs handed over to ``kept`` ones."""
        target = kept.new_full((self.shape[1],), -1)
        target[dropped] = kept
        moving = target[self.index.columns]
        leaving = (moving >= 0).nonzero().flatten()
        rows, columns = self._rows()[leaving], moving[leaving]
        place = self.located(rows, columns)
        found = place >= 0
        weight, share = self.weight.clone(), part * self.weight[leaving]
        weight[place[found]] += share[found]
        weight[leaving] *= 1 - part
        gone = self.places()[leaving if part == 1 else leaving[:0]]
        new = (rows * self.shape[1] + columns)[~found]
        merged = self._exchanged(weight, gone, new, share[~found])
        assert merged is not None
        return merged

    def _rows(self) -> Tensor:
        """The row of each weight. Shape ``(n,)``, int64."""
        units = torch.arange(self.shape[0], device=self.weight.device)
        return units.repeat_interleave(self.index.offsets.diff(), output_size=self.count)

    def places(self) -> Tensor:
        """The place of each weight in the whole matrix, ascending. Shape ``(n,)``, int64."""
        if not self._compiles:
            return self._rows() * self.shape[1] + self.index.columns
        keys = torch.empty(self.count + 1, dtype=torch.int64)
        keys[-1] = self.shape[1]
        list_places(self.index.offsets.numpy(), self.index.columns.numpy(), keys.numpy())
        return keys[:-1]

    @property
    def _compiles(self) -> bool:
        """Whether compiled loops can read the index."""
        return self.index.plain and self.index.offsets.is_cpu

    def located(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Where in the list each place stands, or -1. Shape ``(n,)``, int64."""
        if self._compiles:
            place = torch.empty_like(rows)
            wanted = rows.contiguous(), columns.contiguous(), place
            index = self.index.offsets, self.index.columns
            find_places(*(one.numpy() for one in (*index, *wanted)))
            return place
        own, keys = self.places(), rows * self.shape[1] + columns
        place = torch.searchsorted(own, keys)
        if not self.count:
            return torch.full_like(keys, -1)
        return torch.where(own[place.clamp(max=self.count - 1)] == keys, place, -1)

    def _by_rows(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Places after output units follow ``index``, ascending, and where each came from."""
        source, line = _segments(self.index.offsets, index)
        return line * self.shape[1] + self.index.columns[source], source

    def _by_columns(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The same for input units."""
        place, line = _segments(self.index.column_offsets, index)
        # Of more than 2 ** 31 places int32 has no numbers.
        keys = self.index.rows[place].long() * len(index) + line
        order = torch.argsort(keys)
        return keys[order], self.index.order[place[order]].long()

    def _exchanged(
        self, weight: Tensor, gone: Tensor, new: Tensor, values: Tensor
    ) -> tuple[Live, Carry] | None:
        """With ``weight`` for the own values, without some of them and with others.

        Args:
            weight: Shape ``(n, *kernel)``.
            gone: Those that go, by their places in the whole matrix. Shape ``(k,)``, int64.
            new: The places of those that come, all free or left by those that go. Shape ``(m,)``.
            values: The weights of these. Shape ``(m, *kernel)``.

        Returns:
            None where the compiled loop finds that ``gone`` or ``new`` is not so.
        """
        if not ascend(gone):
            gone = gone.sort().values
        if not ascend(new):
            new, order = new.sort()
            values = values[order]
        merged = self._merged_index(gone, new)
        if merged is None:
            return None
        (made, origin), shape = merged, values.shape

        def carried(state: Tensor) -> Tensor:
            return _rearranged(state, state.new_zeros(shape), origin.to(state.device))

        return Live(_rearranged(weight, values, origin), made), carried

    def _merged_index(self, gone: Tensor, new: Tensor) -> tuple[LiveIndex, Tensor] | None:
        """The index without weights at ``gone`` and with those at ``new``, both ascending; and
        where each of its weights stands in the list of the old and then the new ones. None where
        the compiled loop finds that they do not fit.
        """
        count = self.count - len(gone) + len(new)
        if self._compiles:
            tensors, origin = _unwritten(self.shape, count), new.new_empty(count)
            given = (self.index.offsets, self.index.columns, gone, new, origin)
            fits = exchange_places(*(one.numpy() for one in (*given, *tensors)))
            return (LiveIndex.unchecked(tensors, self.shape), origin) if fits else None
        places = self.places()
        left = (~torch.isin(places, gone)).nonzero().flatten()
        keys, origin = torch.cat((places[left], new)).sort()
        both = torch.cat((left, torch.arange(len(new), device=new.device) + self.count))
        return _indexed(keys, self.shape), both[origin]


def _inserted(keys: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
    """Both lists as one, ascending, and where in their concatenation each entry stands.

    Args:
        keys: Ascending.
        new: In any order; nothing of it is in ``keys``.
    """
    if not keys.is_cpu:
        whole, place = torch.cat((keys, new)).sort()
        return whole, place
    new, order = new.sort()
    whole = keys.new_empty(len(keys) + len(new))
    place = torch.empty_like(whole)
    merge_places(keys.numpy(), new.numpy(), whole.numpy(), place.numpy())
    origin = torch.cat((torch.arange(len(keys)), order + len(keys)))
    return whole, origin[place]


def _segments(offsets: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """The entries of lines that follow ``index``: their places, and the new line of each."""
    chosen = index.clamp(min=0)
    counts = torch.where(index < 0, 0, offsets.diff()[chosen].long())
    line = torch.arange(len(index), device=index.device).repeat_interleave(counts)
    begin = offsets[:-1][chosen] - (counts.cumsum(0) - counts)
    return torch.arange(len(line), device=index.device) + begin[line], line


def _pattern(keys: Tensor, shape: tuple[int, int]) -> SparsePattern:
    return SparsePattern(keys // shape[1], keys % shape[1], shape)


def _indexed(keys: Tensor, shape: tuple[int, int]) -> LiveIndex:
    """The index of the places ``keys``, ascending."""
    if not keys.is_cpu:
        return LiveIndex.from_pattern(_pattern(keys, shape))
    keys, tensors = keys.contiguous(), _unwritten(shape, len(keys))
    index_places(keys.numpy(), shape[1], *(one.numpy() for one in tensors))
    return LiveIndex.unchecked(tensors, shape)


def _unwritten(shape: tuple[int, int], count: int) -> tuple[Tensor, ...]:
    """The tensors of an index, to be written by a compiled loop."""
    offsets, column_offsets = (torch.zeros(size + 1, dtype=torch.int32) for size in shape)
    columns, rows, order = (torch.empty(count, dtype=torch.int32) for _ in range(3))
    return offsets, columns, column_offsets, rows, order


def _rearranged(old: Tensor, new: Tensor, origin: Tensor) -> Tensor:
    """The entries at ``origin`` of the old and then the new ones."""
    return (torch.cat((old, new)) if len(new) else old).index_select(0, origin)


def _carry(source: Tensor) -> Carry:
    return lambda state: gathered(state, 0, source)


class KnownIndex:
    """The `LiveIndex` of a layer's tensors, made anew where these were replaced or written.

    Copies and pickles begin anew.
    """

    def __init__(self) -> None:
        self._made: tuple[object, LiveIndex] | None = None
        self._expected: tuple[object, LiveIndex] | None = None

    def __reduce__(self) -> tuple[type[KnownIndex], tuple[()]]:
        return KnownIndex, ()

    def expect(self, index: LiveIndex) -> None:
        """Notes an index that is right as it is, and whose tensors the layer may get."""
        # Aliases: what stands behind the tensors themselves is exchanged when they are handed over.
        index = index.alias()
        key = identity_of(index.tensors)
        self._expected = None if key is None else (key, index)

    def of(self, tensors: Sequence[Tensor]) -> LiveIndex:
        """The index.

        Args:
            tensors: Offsets, columns, column offsets, rows and order.
        """
        key, made = identity_of(tensors), self._made
        if key is not None and made is not None and made[0] == key:
            return made[1]
        if key is not None and self._expected is not None and self._expected[0] == key:
            self._made = self._expected
            return self._expected[1]
        offsets, columns, column_offsets, rows, order = tensors
        shape = (offsets.shape[0] - 1, column_offsets.shape[0] - 1)
        index = LiveIndex(offsets, columns, column_offsets, rows, order, shape)
        if key is not None:
            self._made = key, index
        return index


def identity_of(tensors: Sequence[Tensor]) -> list[int] | None:
    """What changes with the memory or the content of tensors; None where they have no memory."""
    if capturing() or any(kind is not Tensor for kind in map(type, tensors)):
        return None
    try:
        return [*map(_ADDRESS, tensors), *map(_VERSION, tensors), *map(_LENGTH, tensors)]
    except RuntimeError:  # inside a transform, or made under torch.inference_mode
        return None


# Functions of C: an index is asked for in every step of every layer.
_ADDRESS: Final = Tensor.data_ptr
_LENGTH: Final = Tensor.numel
_VERSION: Final = attrgetter("_version")
