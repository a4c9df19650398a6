"""On another device connections move as they do on the CPU: by hand, and as strategies have it.

Tolerances as in `test_storage`: float64, other orders of sums.
"""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from structure_net.core import SparseConv2d, StandardSparseLayer
from structure_net.core.optimizers import adam_for
from structure_net.evolution import Component, ComposableEvolutionSystem
from structure_net.evolution.components import (
    ConnectionAnalyzer,
    ConnectionCandidateAnalyzer,
    RigL,
    SparseEvolutionaryTraining,
    SparseMomentum,
)
from structure_net.surgery import MoveConnections, apply
from tests.elsewhere import away
from tests.laws.storages import STORAGES, Storage, crossover, layers
from tests.laws.test_away import convolutional, same, same_state

pytestmark = pytest.mark.away

DRAW = torch.Generator().manual_seed(0)
IMAGES = torch.randn(24, 2, 6, 6, generator=DRAW, dtype=torch.float64)
CLASSES = torch.randint(3, (24,), generator=DRAW)

STRATEGIES: dict[str, tuple[Component, ...]] = {
    "SET": (SparseEvolutionaryTraining(0.3, scale=0.5),),
    "RigL": (ConnectionAnalyzer(), RigL(0.3)),
    "RigL by candidates": (ConnectionCandidateAnalyzer(60), RigL(0.3, candidates=60)),
    "sparse momentum": (ConnectionAnalyzer(), SparseMomentum(0.3)),
}


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    device = next(model.parameters()).device
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(IMAGES.to(device)), CLASSES.to(device))
    loss.backward()
    optimizer.step()
    return loss


def some(layer: StandardSparseLayer | SparseConv2d, name: str) -> MoveConnections:
    """A third goes, one of these comes back, and others come."""
    pattern = layer.pattern
    free = (~pattern.mask()).nonzero()[: len(pattern) // 3].tolist()
    gone = pattern.pairs[::3]
    return MoveConnections(name, gone, (gone[0], *((a, b) for a, b in free)), scale=0.5)


@pytest.mark.parametrize("storage", STORAGES)
def test_moved_connections_are_those_of_the_cpu_and_are_taken_back(storage: Storage) -> None:
    here = convolutional(storage)
    models = [here, deepcopy(here).to(away())]
    optimizers = [adam_for(model.parameters(), 0.01) for model in models]
    for number, name in enumerate(("0", "2", "4")):
        undone = []
        for model, optimizer in zip(models, optimizers, strict=True):
            step(model, optimizer)
            layer = model.get_submodule(name)
            assert isinstance(layer, StandardSparseLayer | SparseConv2d)
            before = [one.clone() for one in model.state_dict().values()]
            change = some(layer, name)
            with crossover(storage):
                apply(model, change, None, optimizer=optimizer, seed=number).undo()
                undone.append(all(map(torch.equal, model.state_dict().values(), before)))
                apply(model, change, None, optimizer=optimizer, seed=number)
            step(model, optimizer)
        assert undone == [True, True]
        same(*models)
        same_state(*optimizers)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("name", STRATEGIES)
def test_strategies_rewire_on_the_device_as_on_the_cpu(name: str, storage: Storage) -> None:
    here = convolutional(storage)
    models = [here, deepcopy(here).to(away())]
    patterns = [layer.pattern for layer in layers(here)]
    optimizers = [adam_for(model.parameters(), 0.01) for model in models]
    for model, optimizer in zip(models, optimizers, strict=True):
        device = next(model.parameters()).device
        batches = list(zip(IMAGES.to(device).split(8), CLASSES.to(device).split(8), strict=True))
        system = ComposableEvolutionSystem(STRATEGIES[name])
        session = system.attach(model, optimizer=optimizer, data_loader=batches)
        with crossover(storage):
            for _ in range(2):
                loss = step(model, optimizer)
                session.after_epoch({"train_loss": float(loss.detach())})
        step(model, optimizer)
    same(*models)
    same_state(*optimizers)
    assert any(layer.pattern != old for layer, old in zip(layers(here), patterns, strict=True))
