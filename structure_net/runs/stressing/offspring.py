"""New networks of a tournament: drawn, or made from a winner by an edit."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from structure_net.core import StandardNetwork, create_standard_network
from structure_net.core.sparsity import SparseLayer
from structure_net.evolution import NetworkContext, Proposal
from structure_net.evolution.editing import carry_out
from structure_net.surgery.edits import AddConnections, AddNeurons, RemoveConnections, RemoveNeurons

WIDTHS: Final = (16, 64)
"""Hidden layers have so many units: the memory of one network is bounded."""

_FEW: Final = 4
_SHARE: Final = 0.1


def first_network(features: int, outputs: int, seed: int) -> StandardNetwork:
    """A sparse network with two hidden layers of 16 to 31 units."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randint(WIDTHS[0], 2 * WIDTHS[0], (2,), generator=generator).tolist()
    return create_standard_network([features, *hidden, outputs], density=0.3, seed=seed)


def mutate(context: NetworkContext, network: StandardNetwork, seed: int) -> str:
    """Edits ``network``, which the context holds, in place: one of four edits, drawn by ``seed``.

    Units are added or taken from a hidden layer, within `WIDTHS`; or a tenth of a layer's
    connections is added, or taken where the weights are smallest.

    Returns:
        What was done, in a few words.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int) -> int:
        return int(torch.randint(count, (), generator=generator))

    hidden = draw(len(network.layers) - 1)
    width = int(network.architecture[hidden + 1])
    kind = draw(4)
    if kind == 0 and width + _FEW <= WIDTHS[1]:
        edit: object = AddNeurons(f"layers.{hidden}", _FEW)
    elif kind == 1 and width - _FEW >= WIDTHS[0]:
        first = draw(width - _FEW)
        edit = RemoveNeurons(f"layers.{hidden}", tuple(range(first, first + _FEW)))
    else:
        edit = _connections(network, draw(len(network.layers)), kind, generator)
    if edit is None:
        return "as it was"
    assert isinstance(edit, AddNeurons | RemoveNeurons | AddConnections | RemoveConnections)
    carry_out(context, [Proposal(edit, "offspring of a winner")], component="stress")
    return type(edit).__name__


def _connections(
    network: StandardNetwork, place: int, kind: int, generator: torch.Generator
) -> AddConnections | RemoveConnections | None:
    layer = network.layers[place]
    assert isinstance(layer, SparseLayer)
    name, mask = f"layers.{place}", layer.pattern.mask().bool()
    count = max(1, int(_SHARE * int(mask.sum())))
    if kind % 2 == 0 and mask.float().mean() < 0.5:
        absent = (~mask).nonzero()
        chosen = absent[torch.randperm(len(absent), generator=generator)[:count]]
        return AddConnections(name, _pairs(chosen), scale=0.1)
    live = mask.nonzero()
    if len(live) < 10 * count or mask.float().mean() < 0.1:
        return None
    size = layer.dense_weight().detach().abs()[mask]
    return RemoveConnections(name, _pairs(live[size.argsort()[:count]]))


def _pairs(places: Tensor) -> tuple[tuple[int, int], ...]:
    return tuple((int(row), int(column)) for row, column in places.tolist())
