"""Which layers a growth touched, told by the tensors that it put in the place of others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Final

from torch import Tensor, nn

from structure_net.evolution.unit_layers import observed_layers
from structure_net.surgery.edits import (
    AddNeurons,
    AddResidualBlock,
    DoubleWidth,
    Edit,
    InsertLayer,
    SplitNeurons,
)
from structure_net.surgery.entries import EditEntry

PRESERVING: Final = (AddNeurons, SplitNeurons, DoubleWidth, InsertLayer, AddResidualBlock)
"""The edits that are the identity at birth; splits are without noise."""

HeldTensors = Mapping[str, Tensor]
"""The tensors behind parameters and buffers by name. As long as they are held, no other tensor can
stand at the same address."""


def held_tensors(network: nn.Module) -> HeldTensors:
    """The tensors that an edit may replace, aliased."""
    named = chain(network.named_parameters(), network.named_buffers())
    return {name: tensor.detach() for name, tensor in named}


def touched(before: HeldTensors, network: nn.Module) -> frozenset[str]:
    """The layers whose parameters or buffers are not those that were there before.

    A layer whose tensors have other names now, or which is gone, counts under both names.

    Args:
        before: What `held_tensors` said in front of the growth.
        network: The network behind it.
    """
    after = held_tensors(network)
    changed = [n for n in before.keys() | after.keys() if not _same(before.get(n), after.get(n))]
    layers = set(observed_layers(network))
    return frozenset(_layer_of(name, layers) for name in changed)


def moved(
    entries: Iterable[EditEntry], layers: frozenset[str], order: Sequence[str] | None
) -> tuple[str, ...] | None:
    """The layers whose activations may be others after edits.

    Args:
        entries: The edits, as strategies propose them.
        layers: The layers that they touched.
        order: All layers in order of execution; None where it is not known.

    Returns:
        Where all edits keep the network's function: the layers that are new or have another width.
        Else the first of ``layers`` and all that run after it, all where one has no place in the
        order. None, for any layer, where there is no order.
    """
    if order is None:
        return None
    entries = tuple(entries)
    if all(_preserves(entry.edit) for entry in entries):
        resized = {change.layer for entry in entries for change in entry.changes}
        return tuple(sorted(resized | (layers - set(order))))
    places = [order.index(layer) if layer in order else 0 for layer in layers]
    return tuple(order[min(places) :]) if places else ()


def _preserves(edit: Edit) -> bool:
    return isinstance(edit, PRESERVING) and not (isinstance(edit, SplitNeurons) and edit.noise)


def _same(before: Tensor | None, after: Tensor | None) -> bool:
    if before is None or after is None:
        return False
    return before.data_ptr() == after.data_ptr() and before.shape == after.shape


def _layer_of(tensor: str, layers: set[str]) -> str:
    """The layer that a tensor belongs to: the longest name in front of it, else its module's."""
    parts = tensor.split(".")
    found = (".".join(parts[:n]) for n in range(len(parts) - 1, -1, -1))
    return next((name for name in found if name in layers), ".".join(parts[:-1]))
