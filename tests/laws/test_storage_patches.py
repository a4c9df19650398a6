"""Layers that watch, and connections on trial beside them, are the same in either storage.

Tolerance: float64; sums of some dozen numbers in another order, amplified by some steps of Adam.
"""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from structure_net.core import ExtremaAwareSparseLayer, StandardSparseLayer, TemporaryPatchLayer
from structure_net.core.optimizers import Adam
from structure_net.core.storage import StoredLayer
from structure_net.surgery import AddConnections, edit
from tests.laws.storages import STORAGES, Storage, crossover, layers

OPTIMIZERS = {"compiled": Adam, "torch": torch.optim.Adam}


def drawn(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def watched(storage: Storage) -> nn.Sequential:
    """8-12-6 in single precision, and some connections on trial beside either layer."""
    draw = torch.Generator().manual_seed(0)
    with crossover(storage):
        first = ExtremaAwareSparseLayer(8, 12, activation="tanh", density=0.3, generator=draw)
        second = StandardSparseLayer(12, 6, density=0.3, generator=draw)
        model = nn.Sequential(first, nn.Tanh(), second)
        for place in (0, 2):
            patch(model, place, seed=place)
    return model


def patch(model: nn.Sequential, place: int, *, seed: int) -> None:
    """Puts five connections on trial."""
    layer: Any = model[place]
    free = (~layer.pattern.mask()).nonzero()[seed :: len(layer.pattern)][:5]
    draw = torch.Generator().manual_seed(seed)
    model[place] = TemporaryPatchLayer(layer, free, scale=0.5, generator=draw)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 5) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        (model(drawn(5, 8)) - drawn(5, 6, seed=2)).square().mean().backward()
        optimizer.step()


def placed(layer: StoredLayer, values: Tensor) -> Tensor:
    """What lies beside a layer's weight, as a dense matrix."""
    if values.shape == layer.pattern.shape:
        return values
    matrix = values.new_zeros(layer.pattern.shape)
    matrix[layer.pattern.rows, layer.pattern.columns] = values
    return matrix


def seen(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> list[Tensor]:
    """Outputs, statistics, and of each layer the weights, gradients and moments."""
    found: list[Tensor] = [model.eval()(drawn(7, 8, seed=3))]
    found += [b for name, b in model.named_buffers() if name.endswith(("statistics", "observed"))]
    for layer in layers(model):
        found.append(layer.dense_weight())
        if layer.weight.grad is not None:
            found.append(placed(layer, layer.weight.grad))
        state = {} if optimizer is None else optimizer.state.get(layer.weight, {})
        found += [placed(layer, state[name]) for name in ("exp_avg", "exp_avg_sq") if state]
    model.train()
    return [one.detach().clone() for one in found]


def assert_same(one: list[Tensor], other: list[Tensor]) -> None:
    for mine, yours in zip(one, other, strict=True):
        torch.testing.assert_close(mine, yours, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_layers_that_watch_and_connections_on_trial_train_the_same(kind: str) -> None:
    """Through trials that begin, are accepted and are thrown away, beside one optimizer."""
    found: list[list[list[Tensor]]] = []
    for storage in STORAGES:
        model: Any = watched(storage).to(torch.float64)
        assert {layer.storage for layer in layers(model)} == {storage}
        optimizer = OPTIMIZERS[kind](model.parameters(), lr=0.01)
        story = [seen(model)]
        with crossover(storage):
            train(model, optimizer)
            story.append(seen(model, optimizer))
            model[0] = model[0].accept()
            train(model, optimizer)
            story.append(seen(model, optimizer))
            model[2] = model[2].remove()
            train(model, optimizer)
            story.append(seen(model, optimizer))
            patch(model, 0, seed=5)
            optimizer.add_param_group({"params": list(model[0].patch.parameters())})
            train(model, optimizer)
            model[0] = model[0].accept()  # an edit before the optimizer's next step
            free = (~model[0].pattern.mask()).nonzero()[:3].tolist()
            change = AddConnections("0", tuple(map(tuple, free)))
            edit(model, change, drawn(2, 8), optimizer=optimizer, seed=1)
            train(model, optimizer)
            story.append(seen(model, optimizer))
        assert {layer.storage for layer in layers(model)} == {storage}
        found.append(story)
    for one, other in zip(*found, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("storage", STORAGES)
def test_copies_states_and_pickles_of_them_compute_and_train_the_same(storage: Storage) -> None:
    model = watched(storage).double()
    train(model, Adam(model.parameters(), lr=0.01))
    other: Storage = STORAGES[storage == "live"]
    loaded = watched(other).double()
    loaded.load_state_dict(model.state_dict())
    twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), loaded]
    for twin in twins:
        assert [type(part) for part in twin] == [type(part) for part in model]
        assert {layer.storage for layer in layers(twin)} == {storage}
        own = set(map(id, model.parameters()))
        assert own.isdisjoint(map(id, twin.parameters()))
    for one in (model, *twins):
        train(one, Adam(one.parameters(), lr=0.01))
    for twin in twins:
        assert_same(seen(model), seen(twin))


def test_moments_of_another_shape_are_refused_before_anything_is_written() -> None:
    with crossover("live"):
        layer = StandardSparseLayer(8, 6, density=0.3).double()
    optimizer = Adam(layer.parameters(), lr=0.01)
    train(layer, optimizer, 1)
    assert layer.bias is not None
    before = layer.bias.detach().clone()
    optimizer.state[layer.weight]["exp_avg"] = layer.weight.new_zeros(3)
    with pytest.raises(RuntimeError, match="Hand the optimizer to the edit"):
        train(layer, optimizer, 1)
    assert torch.equal(layer.bias, before)
