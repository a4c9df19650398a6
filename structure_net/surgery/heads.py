"""Plans of edits of attention heads. A head is a unit of the channel group of the projections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from structure_net.errors import SurgeryError
from structure_net.graph.channels import Axis, ChannelGroup, Role
from structure_net.surgery.edits import AddHeads, MaskHeads, RemoveHeads, ReviveHeads
from structure_net.surgery.grafts import Grafted, HeadGate
from structure_net.surgery.moves import Move, SetGate

if TYPE_CHECKING:
    from structure_net.graph import ChannelGraph


def heads_of(
    graph: ChannelGraph, edit: AddHeads | RemoveHeads | MaskHeads | ReviveHeads
) -> ChannelGroup:
    """The group whose units are the heads that ``edit.layer`` projects for.

    Raises:
        SurgeryError: The layer is unknown or frozen, or projects for no attention.
    """
    graph.group(edit.layer)
    for group in graph.groups_of(edit.layer):
        if group.heads:
            return group
    known = [name for name, group in graph.editable.items() if group.heads]
    raise SurgeryError(
        f"{edit.layer!r} projects for no attention heads. Layers that do: "
        f"{', '.join(known) or 'none'}."
    )


def units_of(group: ChannelGroup, heads: Sequence[int]) -> tuple[int, ...]:
    """Heads by number, checked.

    Raises:
        SurgeryError: A number is out of range or named twice, or there is none.
    """
    if not heads:
        raise SurgeryError(f"No head of {group.layer!r} was named; name at least one.")
    for head in heads:
        if not 0 <= head < group.units:
            raise SurgeryError(
                f"{group.layer!r} has {group.units} heads, 0 to {group.units - 1}; got {head}."
            )
        if heads.count(head) > 1:
            raise SurgeryError(f"Each head can be named once; {head} is named again.")
    return tuple(heads)


def counted(edit: AddHeads) -> int:
    """The number of heads to add.

    Raises:
        SurgeryError: It is below 1.
    """
    if edit.count < 1:
        raise SurgeryError(f"count must be at least 1; got {edit.count} for {edit.layer!r}.")
    return edit.count


def gate(model: nn.Module, graph: ChannelGraph, edit: MaskHeads | ReviveHeads) -> tuple[Move, ...]:
    """Closes or opens heads in front of the layer that reads them.

    Raises:
        SurgeryError: A head is masked already, or not masked, or all would be; or it is not clear
            which layer reads the heads.
    """
    group = heads_of(graph, edit)
    units = units_of(group, edit.heads)
    reader = _reader(group)
    return (_gated(model, group, reader, units, isinstance(edit, ReviveHeads)),)


def _reader(group: ChannelGroup) -> Axis:
    """The one axis that reads the heads: of the only reader, or of the only one beside the
    layer.
    """
    readers = [axis for axis in group.axes if axis.role is Role.READS]
    around = group.layer.rpartition(".")[0]
    if len(readers) > 1:
        readers = [
            axis
            for axis in readers
            if axis.tensor.startswith(f"{around}.") and not axis.tensor.startswith(group.layer)
        ]
    if len(readers) != 1:
        raise SurgeryError(
            f"It is not clear which layer reads the heads of {group.layer!r}; candidates: "
            f"{', '.join(axis.tensor for axis in readers) or 'none'}. Name a query, key or value "
            "projection of the attention, or use RemoveHeads."
        )
    return readers[0]


def _gated(
    model: nn.Module, group: ChannelGroup, axis: Axis, units: Sequence[int], open: bool
) -> SetGate:
    name = axis.tensor if axis.leaf else axis.tensor.rpartition(".")[0]
    size = len(axis.lift(range(group.units)))
    now = gate_of(model, name, size)
    for unit in units:
        for channel in _channels(axis, group.units, unit):
            if now[channel] == float(open):
                word = "is not masked" if open else "is masked already"
                raise SurgeryError(f"Head {unit} of {group.layer!r} {word}.")
            now[channel] = float(open)
    if not any(now):
        raise SurgeryError(f"All heads of {group.layer!r} would be masked; keep at least one.")
    return SetGate(name, tuple(now))


def _channels(axis: Axis, units: int, unit: int) -> list[int]:
    """The entries of one unit along an axis: those that a map without it lacks."""
    every = axis.lift(range(units))
    without = set(axis.lift([other for other in range(units) if other != unit]))
    return [entry for entry in every if entry not in without]


def gate_of(model: nn.Module, name: str, size: int) -> list[float]:
    """Which inputs of a layer pass: 1 or 0 for each."""
    outer = name.removesuffix(".origin")
    place = model.get_submodule(outer)
    if isinstance(place, Grafted) and "heads" in place.gates:
        found = place.gates["heads"]
        assert isinstance(found, HeadGate)
        values: list[float] = found.open.tolist()
        return values
    return [1.0] * size
