"""From an edit to moves: pure, without touching a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from structure_net.errors import SurgeryError
from structure_net.graph.channels import ChannelGroup
from structure_net.surgery import widths
from structure_net.surgery.edits import (
    AddConnections,
    AddNeurons,
    DoubleWidth,
    Edit,
    MergeNeurons,
    RemoveConnections,
    RemoveNeurons,
    ResetNeurons,
    SplitNeurons,
)
from structure_net.surgery.moves import Connect, Disconnect, Move

if TYPE_CHECKING:
    from structure_net.graph import ChannelGraph


def plan(edit: Edit, graph: ChannelGraph | None) -> tuple[Move, ...]:
    """The moves that ``edit`` needs on a model of structure ``graph``.

    Raises:
        SurgeryError: The layer is unknown (with the nearest name) or frozen (with the reason), a
            count or an index does not fit, the layer would be left empty, or the edit would not
            keep what it promises.
    """
    match edit:
        case AddConnections():
            return (Connect(edit.layer, edit.pairs, edit.scale),)
        case RemoveConnections():
            return (Disconnect(edit.layer, edit.pairs),)
        case _:
            assert graph is not None
            return planned_width(edit, graph)[0]


def planned_width(edit: Edit, graph: ChannelGraph) -> tuple[tuple[Move, ...], ChannelGroup, int]:
    """The moves of a width edit, its channel group, and the group's units afterwards."""
    match edit:
        case AddNeurons():
            group = widths.group_for_count(graph, edit.layer, edit.count)
            units = edit.count // group.granularity
            return widths.grow(group, units), group, group.units + units
        case RemoveNeurons():
            group, gone = widths.group_for_indices(graph, edit.layer, edit.indices)
            return widths.drop(group, gone), group, group.units - len(gone)
        case SplitNeurons():
            group, several = widths.group_for_indices(graph, edit.layer, edit.indices)
            return widths.split(group, several, edit.noise), group, group.units + len(several)
        case ResetNeurons():
            group, several = widths.group_for_indices(graph, edit.layer, edit.indices)
            return widths.reset(group, several), group, group.units
        case MergeNeurons():
            group, pairs = _pairs(edit, graph)
            return widths.merge(group, pairs), group, group.units - len(pairs)
        case DoubleWidth():
            group = graph.group(edit.layer)
            return widths.double(group), group, 2 * group.units
        case _:
            raise SurgeryError(f"{type(edit).__name__} is no edit of a layer's width.")


def _pairs(
    edit: MergeNeurons, graph: ChannelGraph
) -> tuple[ChannelGroup, tuple[tuple[int, int], ...]]:
    """The pairs of a merge as pairs of units."""
    kept = tuple(dict.fromkeys(keep for keep, _ in edit.pairs))
    dropped = tuple(drop for _, drop in edit.pairs)
    group, _ = widths.group_for_indices(graph, edit.layer, (*kept, *dropped))
    owner = {channel: unit for unit, channels in enumerate(group.channels) for channel in channels}
    pairs = tuple(dict.fromkeys((owner[a], owner[b]) for a, b in edit.pairs))
    for keep, drop in pairs:
        if keep == drop:
            raise SurgeryError(f"Unit {keep} of {edit.layer!r} cannot be merged with itself.")
    return group, pairs
