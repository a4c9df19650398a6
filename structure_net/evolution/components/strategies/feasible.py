"""What strategies ask of a network before they propose, and how they draw."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, Final, Self

import torch
from torch import Tensor

from structure_net.core.arguments import shown
from structure_net.core.sparsity import SparseLayer
from structure_net.core.statistics import sparse_layers
from structure_net.errors import SurgeryError, TraceError
from structure_net.evolution.components.strategies.frozen import (
    check_trains,
    is_frozen,
    touches_frozen,
)
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.editing import derived_seed
from structure_net.evolution.metrics.validity import Unavailable
from structure_net.graph.channels import ChannelGroup
from structure_net.surgery import preview
from structure_net.surgery.edits import Edit

_SMALL: Final = 2**20
"""Places of a layer that are drawn from as a table."""

_ROUNDS: Final = 16


def sparse_layer(context: NetworkContext, name: str) -> SparseLayer | None:
    """The layer of that name if it is sparse and not frozen, else None.

    Raises:
        StructureNetError: Nothing of the network trains.
    """
    check_trains(context.network)
    layer = context.network.get_submodule(name)
    return layer if isinstance(layer, SparseLayer) and not is_frozen(layer) else None


def possible(context: NetworkContext, edit: Edit) -> bool:
    """Whether surgery would carry the edit out."""
    try:
        preview(context.network, edit, context.with_example().example)
    except SurgeryError:
        return False
    return True


def editable_layers(
    context: NetworkContext, *, sparse_suffices: bool = False
) -> Mapping[str, ChannelGroup]:
    """The layers whose width can be edited, and whose units no frozen weight writes or reads.

    Args:
        context: Its network is traced, which takes a second.
        sparse_suffices: Whether connections of sparse layers are left to act on: a network that has
            some and cannot be traced gives no layers then.

    Raises:
        StructureNetError: Nothing of the network trains.
        TraceError: The network cannot be traced, so that there is nothing to act on.
    """
    check_trains(context.network)
    try:
        every = _groups(context)
    except TraceError:
        if sparse_suffices and sparse_layers(context.network):
            return {}
        raise
    network = context.network
    return {name: group for name, group in every.items() if not touches_frozen(network, group)}


def stands_at_frozen(context: NetworkContext, layer: str) -> bool:
    """Whether a layer's width could be edited if no frozen weight wrote or read its units."""
    group = _groups(context).get(layer)
    return group is not None and touches_frozen(context.network, group)


def _groups(context: NetworkContext) -> Mapping[str, ChannelGroup]:
    from structure_net.graph import graph_of

    return graph_of(context.network, context.with_example().example).editable


def apart(group: ChannelGroup, others: Iterable[ChannelGroup]) -> bool:
    """Whether editing the widths of ``others`` leaves a group as it is."""
    own = {(axis.tensor, axis.dim) for axis in group.axes}
    return all(own.isdisjoint((axis.tensor, axis.dim) for axis in one.axes) for one in others)


def generator_of(context: NetworkContext, *purpose: str) -> torch.Generator:
    """Draws that follow from the seed, the moment and a purpose."""
    seed = derived_seed(context.seed, context.iteration, context.journal.changes, *purpose)
    return torch.Generator().manual_seed(seed)


def drawn_pairs(weight: Tensor, count: int, generator: torch.Generator) -> list[tuple[int, int]]:
    """Up to ``count`` entries of each row, without replacement, in proportion to ``weight``.

    An exponential race: the entries with the smallest :math:`E_j / w_j` win (Efraimidis and
    Spirakis 2006). Entries of weight 0 never do.

    Returns:
        Pairs (row, column), sorted.
    """
    uniform = torch.rand(weight.shape, generator=generator, dtype=torch.float64)
    rank = -torch.log1p(-uniform) / weight.double()
    rank[weight == 0] = torch.inf
    times, columns = rank.topk(min(count, weight.size(1)), largest=False)
    rows = torch.arange(len(weight)).unsqueeze(1).expand_as(columns)
    won = torch.isfinite(times)
    return sorted(zip(rows[won].tolist(), columns[won].tolist(), strict=True))


class Lacking:
    """What some rows of a table of connections lack.

    Args:
        taken: Rows and columns of what there is. Shape ``(n,)`` each, int64.
        shape: The numbers of rows and columns.
        rows: Those that are asked for, each once, in an order that counts.
    """

    def __init__(
        self, taken: tuple[Tensor, Tensor], shape: tuple[int, int], rows: Sequence[int]
    ) -> None:
        place = torch.full((shape[0],), -1)
        place[list(rows)] = torch.arange(len(rows))
        row, column = place[taken[0].cpu()], taken[1].cpu()
        self._rows, self._columns = row[row >= 0], column[row >= 0]
        self._shape = len(rows), shape[1]

    @classmethod
    def of(cls, layer: SparseLayer, rows: Sequence[int] | None = None) -> Self:
        """What output units of a layer do not read: some, or all if None."""
        pattern = layer.pattern
        units = range(pattern.shape[0]) if rows is None else rows
        return cls((pattern.rows, pattern.columns), pattern.shape, units)

    def matrix(self, rows: Tensor | None = None) -> Tensor:
        """Whether each entry is lacking. Shape ``(rows, columns)``, bool, on the CPU.

        Args:
            rows: Of those that were asked for, all if None. Shape ``(n,)``, int64.
        """
        count, columns = self._shape
        rows = torch.arange(count) if rows is None else rows
        place = torch.full((count,), -1)
        place[rows] = torch.arange(len(rows))
        mine = place[self._rows]
        free = torch.ones(len(rows), columns, dtype=torch.bool)
        free[mine[mine >= 0], self._columns[mine >= 0]] = False
        return free

    def drawn(self, weight: Tensor, each: int, generator: torch.Generator) -> list[tuple[int, int]]:
        """Up to ``each`` of what every row lacks, drawn like `drawn_pairs`.

        In a large table places are drawn and those that are taken are passed over, so that the cost
        follows what there is and what is drawn; rows that lack little are drawn from what they
        lack.

        Args:
            weight: Of each column, 0 or more. Shape ``(columns,)``.
            each: 0 or more.
            generator: On the CPU.

        Returns:
            Pairs (place among the rows that were asked for, column), sorted.
        """
        count, columns = self._shape
        weight = weight.double().cpu()
        if count * columns <= _SMALL:
            return drawn_pairs(self.matrix() * weight, each, generator)
        if not each or not bool(weight.any()):
            return []
        live = self._rows * columns + self._columns
        new, wanted = live.new_zeros(0), torch.full((count,), each)
        for _ in range(_ROUNDS):
            rows = torch.arange(count).repeat_interleave(wanted)
            if not len(rows):
                break
            drawn = torch.multinomial(weight, len(rows), replacement=True, generator=generator)
            keys = rows * columns + drawn
            new = torch.cat((new, keys[~torch.isin(keys, live)])).unique()
            wanted = each - torch.bincount(new // columns, minlength=count)
        left = wanted.nonzero().flatten()
        complete = new[wanted[new // columns] == 0]
        pairs = zip((complete // columns).tolist(), (complete % columns).tolist(), strict=True)
        rest = drawn_pairs(self.matrix(left) * weight, each, generator)
        return sorted([*pairs, *((int(left[row]), column) for row, column in rest)])


def ranked_places(analysis: Any, score: str) -> dict[str, float]:
    """The layers by a score of the analysis, the highest first; of equals the earlier one.

    Args:
        analysis: What the analyzers found.
        score: The key of a mapping from layers to numbers. Layers whose score is not available are
            left out.

    Raises:
        MissingAnalysisError: No analyzer provides the score.
        TypeError: It is no mapping, or maps a layer to something else than a number.
    """
    found = analysis[score]
    if not isinstance(found, Mapping):
        raise TypeError(
            f"A score must map layers to numbers; {score!r} is {shown(found)}. Name another key of"
            " the analysis, such as 'information_ranking'."
        )
    known = {name: value for name, value in found.items() if not isinstance(value, Unavailable)}
    for name, value in known.items():
        if not isinstance(value, Real) and not (isinstance(value, Tensor) and value.numel() == 1):
            raise TypeError(
                f"A score must map layers to numbers; {score!r} maps {name!r} to a"
                f" {type(value).__name__}. Name another key of the analysis, such as"
                " 'gradient_ranking'."
            )
    finite = {name: float(value) for name, value in known.items() if math.isfinite(value)}
    return dict(sorted(finite.items(), key=lambda item: -item[1]))
