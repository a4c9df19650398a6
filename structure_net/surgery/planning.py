"""From an edit to moves: pure, without touching a tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from torch import nn

from structure_net.errors import SurgeryError
from structure_net.graph.channels import ChannelGroup
from structure_net.surgery import heads, widths
from structure_net.surgery.depths import DEPTH_EDITS, observed_layers, planned_depth
from structure_net.surgery.edits import (
    AddConnections,
    AddHeads,
    AddNeurons,
    ConnectionEdit,
    DoubleWidth,
    Edit,
    MaskHeads,
    MergeNeurons,
    MoveConnections,
    RemoveConnections,
    RemoveHeads,
    RemoveNeurons,
    ResetNeurons,
    ReviveHeads,
    ShareNeurons,
    SplitNeurons,
)
from structure_net.surgery.moves import Connect, Disconnect, Move, Reconnect
from structure_net.surgery.passing_on import passed_on
from structure_net.surgery.sites import Site

if TYPE_CHECKING:
    from structure_net.graph import ChannelGraph


def plan(
    edit: Edit,
    graph: ChannelGraph | None = None,
    model: nn.Module | None = None,
    sites: Mapping[str, Site] | None = None,
) -> tuple[Move, ...]:
    """The moves that ``edit`` needs. Pure: nothing is written, no random number is drawn.

    Args:
        edit: The edit.
        graph: What `structure_net.graph.graph_of` gives; for edits of widths and heads.
        model: The model, read only; for edits of depth and masks of heads.
        sites: What `structure_net.surgery.sites.sites` gives; for edits that add depth.

    Raises:
        SurgeryError: The layer is unknown (with the nearest name) or frozen (with the reason), a
            count or an index does not fit, the layer would be left empty, the edit would not keep
            what it promises, or one of the arguments that it needs is missing.
    """
    if isinstance(edit, ConnectionEdit):
        return (_rewired(edit),)
    if isinstance(edit, DEPTH_EDITS):
        known = _given(sites, "sites") if observed_layers(edit) else {}
        return planned_depth(edit, _given(model, "model"), known)
    if isinstance(edit, MaskHeads | ReviveHeads):
        return heads.gate(_given(model, "model"), _given(graph, "graph"), edit)
    return planned_width(edit, _given(graph, "graph"))[0]


def _rewired(edit: ConnectionEdit) -> Move:
    if not isinstance(edit, RemoveConnections) and not 0 <= edit.scale < math.inf:
        raise SurgeryError(f"scale must be a finite number, 0 or more; got {edit.scale}.")
    if isinstance(edit, MoveConnections):
        return _moved(edit)
    if not edit.pairs:
        raise SurgeryError("pairs is empty; name at least one (output unit, input unit).")
    if isinstance(edit, AddConnections):
        return Connect(edit.layer, edit.pairs, edit.scale)
    return Disconnect(edit.layer, edit.pairs)


def _moved(edit: MoveConnections) -> Move:
    for name, others, other in (
        ("removed", "AddConnections", edit.removed),
        ("added", "RemoveConnections", edit.added),
    ):
        if not other:
            raise SurgeryError(
                f"{name} is empty; name at least one (output unit, input unit), or use {others}."
            )
    return Reconnect(edit.layer, edit.removed, edit.added, edit.scale)


_Value = TypeVar("_Value")


def _given(value: _Value | None, name: str) -> _Value:
    if value is None:
        raise SurgeryError(f"This edit is planned with the argument {name!r}; got None.")
    return value


def planned_width(edit: Edit, graph: ChannelGraph) -> tuple[tuple[Move, ...], ChannelGroup, int]:
    """The moves of a width edit, its channel group, and the group's units afterwards.

    Raises:
        SurgeryError: The edit changes no width, or one that is fixed.
    """
    match edit:
        case AddNeurons():
            group = widths.group_for_count(graph, edit.layer, edit.count)
            more = edit.count // group.granularity
            moves = widths.grow(group, more)
        case RemoveNeurons():
            group, gone = widths.group_for_indices(graph, edit.layer, edit.indices)
            moves, more = widths.drop(group, gone), -len(gone)
        case SplitNeurons():
            group, several = widths.group_for_indices(graph, edit.layer, edit.indices)
            moves = widths.split(group, several, noise=edit.noise, share=edit.share)
            more = len(several)
        case ResetNeurons():
            group, several = widths.group_for_indices(graph, edit.layer, edit.indices)
            moves, more = widths.reset(group, several), 0
            moves = (*moves, *passed_on(edit, group))
        case ShareNeurons():
            group, pairs = _pairs(edit, graph)
            moves, more = widths.share(group, pairs, edit.fraction), 0
        case MergeNeurons():
            group, pairs = _pairs(edit, graph)
            moves, more = widths.merge(group, pairs), -len({gone for _, gone in pairs})
        case DoubleWidth():
            group = graph.group(edit.layer)
            moves, more = widths.double(group), group.units
        case AddHeads():
            group = heads.heads_of(graph, edit)
            moves, more = widths.grow(group, heads.counted(edit)), edit.count
        case RemoveHeads():
            group = heads.heads_of(graph, edit)
            gone = heads.units_of(group, edit.heads)
            moves, more = widths.drop(group, gone), -len(gone)
        case _:
            raise SurgeryError(f"{type(edit).__name__} is no edit of a layer's width.")
    return moves, group, group.units + more


def _pairs(
    edit: MergeNeurons | ShareNeurons, graph: ChannelGraph
) -> tuple[ChannelGroup, tuple[tuple[int, int], ...]]:
    """The pairs of channels as pairs of units."""
    kept = tuple(dict.fromkeys(keep for keep, _ in edit.pairs))
    dropped = tuple(drop for _, drop in edit.pairs)
    for keep, drop in edit.pairs:
        if keep == drop:
            raise SurgeryError(
                f"Channel {keep} of {edit.layer!r} cannot be {_verb(edit)} with itself."
            )
    if len(set(dropped)) != len(dropped) or set(kept) & set(dropped):
        raise SurgeryError(
            f"A channel of {edit.layer!r} can be the second of one pair, and not the first of "
            f"another as well; got {edit.pairs}. Chain them in several edits."
        )
    group, _ = widths.group_for_indices(graph, edit.layer, (*kept, *dropped))
    owner = {channel: unit for unit, channels in enumerate(group.channels) for channel in channels}
    return group, tuple(dict.fromkeys((owner[a], owner[b]) for a, b in edit.pairs))


def _verb(edit: MergeNeurons | ShareNeurons) -> str:
    return "merged" if isinstance(edit, MergeNeurons) else "shared"
