"""A network is its start, its journal and its tensors: nothing else is needed to have it again."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from structure_net.core import sparse_layers
from structure_net.errors import SurgeryError
from structure_net.graph import graph_of
from structure_net.surgery import (
    AddConnections,
    AddNeurons,
    AddResidualBlock,
    AddSkipConnection,
    DoubleWidth,
    Edit,
    EditEntry,
    InsertLayer,
    Journal,
    RemoveNeurons,
    ResetNeurons,
    SplitNeurons,
    apply,
    load_checkpoint,
    replay,
    save_checkpoint,
)
from tests.laws.subjects import LAWFUL, example, numbers, run, subject

Draw = Callable[[str, tuple[int, ...], random.Random], Edit]
DRAWS: tuple[Draw, ...] = (
    lambda layer, unit, chosen: AddNeurons(layer, len(unit) * chosen.randint(1, 2)),
    lambda layer, unit, chosen: RemoveNeurons(layer, unit),
    lambda layer, unit, chosen: SplitNeurons(layer, unit, noise=0.01),
    lambda layer, unit, chosen: DoubleWidth(layer),
    lambda layer, unit, chosen: ResetNeurons(layer, unit),
    lambda layer, unit, chosen: InsertLayer(layer, activation=chosen.choice(("relu", "gelu"))),
    lambda layer, unit, chosen: AddResidualBlock(layer, 3),
)


def drawn(model: nn.Module, name: str, chosen: random.Random) -> Edit:
    """An edit at a layer that is editable; it may still be refused."""
    graph = graph_of(model, example(name))
    layer = chosen.choice([one for one in graph.layers if one not in graph.frozen])
    group, kind = graph.group(layer), chosen.randrange(len(DRAWS) + 2)
    if kind < len(DRAWS):
        return DRAWS[kind](layer, group.channels[chosen.randrange(group.units)], chosen)
    sparse = sparse_layers(model)
    if kind == len(DRAWS) or not sparse:
        return AddSkipConnection(chosen.choice(graph.layers), layer)
    layer = chosen.choice(list(sparse))
    absent = (~sparse[layer].pattern.mask()).nonzero()[:3].tolist()
    return AddConnections(layer, tuple((row, column) for row, column in absent), scale=0.5)


def evolved(name: str, edits: int) -> tuple[nn.Module, Journal]:
    """A model after a few edits, those that are refused left out."""
    chosen, model, journal = random.Random(name), subject(name), Journal()
    for number in range(3 * edits):
        try:
            edit = drawn(model, name, chosen)
            apply(model, edit, example(name), seed=number)
        except SurgeryError:
            continue
        journal.append(EditEntry(edit, seed=number))
        if len(journal) == edits:
            break
    return model, journal


def start(name: str) -> nn.Module:
    """The model before its edits, with other weights."""
    model = subject(name)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    return model


def form(model: nn.Module) -> dict[str, Any]:
    """The architecture: module tree, shapes, patterns, and the plain numbers of modules."""
    return {
        "tree": [(name, type(module).__name__) for name, module in model.named_modules()],
        "shapes": {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()},
        "patterns": {name: layer.pattern for name, layer in sparse_layers(model).items()},
        "numbers": {name: numbers(module) for name, module in model.named_modules()},
    }


@pytest.mark.parametrize("name", LAWFUL)
def test_replay_and_a_checkpoint_give_the_network_again(tmp_path: Path, name: str) -> None:
    model, journal = evolved(name, 4)
    assert journal
    replayed = replay(start(name), Journal.from_json(journal.to_json()), example(name))
    assert form(replayed) == form(model)

    save_checkpoint(tmp_path / "c", model, journal=journal, example=example(name))
    loaded = load_checkpoint(tmp_path / "c", start(name)).model
    assert form(loaded) == form(model)
    with torch.no_grad():
        pairs = zip(run(model, example(name)), run(loaded, example(name)), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
