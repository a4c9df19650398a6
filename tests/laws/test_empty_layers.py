"""A layer whose last connections went with removed neurons is a layer like any other.

Surgery takes no last connection by `RemoveConnections`, but neurons may go, and with them all that
a layer reads; later edits connect it again. Tolerance: a few float64 products in another order.
"""

from __future__ import annotations

import copy
import random
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from structure_net.core import SparseConv2d, SparsePattern, StandardSparseLayer
from structure_net.core.layers import Granularity
from structure_net.core.storage import StoredLayer
from structure_net.evolution import ComposableEvolutionSystem, NetworkContext
from structure_net.evolution.components import (
    ConnectionAnalyzer,
    PruningGrowthStrategy,
    RigL,
    StandardNetworkTrainer,
)
from structure_net.surgery import (
    AddConnections,
    AddNeurons,
    Edit,
    RemoveNeurons,
    SplitNeurons,
    edit,
    load_checkpoint,
    save_checkpoint,
    set_storage,
)
from tests.laws.storages import STORAGES, Storage, crossover, layers


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def emptied(storage: Storage) -> tuple[nn.Sequential, torch.optim.Optimizer, Tensor]:
    """A network whose second layer has lost all connections, and which trains on."""
    inputs = torch.randn(5, 6, generator=drawn(1), dtype=torch.float64)
    with crossover(storage):
        read = SparsePattern(torch.tensor([0, 1]), torch.tensor([0, 0]), (4, 3))
        network = nn.Sequential(
            StandardSparseLayer(6, 3, density=1.0, generator=drawn(0)),
            nn.ReLU(),
            StandardSparseLayer(3, 4, pattern=read, generator=drawn(2)),
            nn.Tanh(),
            StandardSparseLayer(4, 2, density=0.8, generator=drawn(3)),
        ).double()
        optimizer = torch.optim.Adam(network.parameters(), 0.01)
        step(network, optimizer, inputs)
        edit(network, RemoveNeurons("0", (0,)), inputs, optimizer=optimizer)
    assert layers(network)[1].connections == 0
    step(network, optimizer, inputs)
    return network, optimizer, inputs


def step(network: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor) -> None:
    optimizer.zero_grad(set_to_none=False)
    network(inputs).square().sum().backward()
    optimizer.step()


def same(one: nn.Module, other: nn.Module) -> None:
    for first, second in zip(layers(one), layers(other), strict=True):
        assert first.pattern == second.pattern
        torch.testing.assert_close(first.dense_weight(), second.dense_weight(), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "change",
    [
        AddNeurons("0", 2),
        AddNeurons("2", 1),
        RemoveNeurons("0", (1,)),
        SplitNeurons("0", (0,)),
        RemoveNeurons("2", (3,)),
        AddConnections("2", ((3, 1), (0, 0))),
    ],
    ids=lambda change: f"{type(change).__name__}-{change.layer}",
)
def test_every_edit_next_to_an_empty_layer_is_the_same_in_both_storages(change: Edit) -> None:
    found = []
    for storage in STORAGES:
        network, optimizer, inputs = emptied(storage)
        with crossover(storage):
            edit(network, change, inputs, optimizer=optimizer, seed=3)
            step(network, optimizer, inputs)
        assert {layer.storage for layer in layers(network)} == {storage}
        found.append(network)
    same(*found)


@pytest.mark.parametrize("storage", STORAGES)
def test_an_empty_layer_is_saved_loaded_and_stored_the_other_way(
    storage: Storage, tmp_path: Path
) -> None:
    network, optimizer, inputs = emptied(storage)
    path = tmp_path / "run.safetensors"
    save_checkpoint(path, network, optimizer=optimizer)
    loaded = copy.deepcopy(network)
    layers(loaded)[0].fill(0.0)
    load_checkpoint(path, loaded)
    same(network, loaded)
    set_storage(loaded, STORAGES[storage == "live"])
    torch.testing.assert_close(network(inputs), loaded(inputs), rtol=0, atol=1e-10)
    loaded.load_state_dict(network.state_dict())
    same(network, loaded)


@pytest.mark.parametrize("storage", STORAGES)
def test_strategies_of_connections_get_by_with_an_empty_layer(storage: Storage) -> None:
    network, _, inputs = emptied(storage)
    data = [(inputs, torch.tensor([0, 1, 0, 1, 1]))]
    for one in (RigL(0.3), PruningGrowthStrategy({"density": 0.2})):
        system = ComposableEvolutionSystem(
            [ConnectionAnalyzer(), one, StandardNetworkTrainer(epochs=1)]
        )
        with crossover(storage):
            after = system.evolve_network(NetworkContext(network, data), num_iterations=1).network
        assert all(bool(value.isfinite().all()) for value in after.state_dict().values())


@pytest.mark.parametrize(("granularity", "first"), [("linear", 7), ("kernel", 1), ("weight", 1)])
def test_edits_at_random_empty_and_fill_layers_alike_in_both_storages(
    granularity: str, first: int
) -> None:
    networks = [_narrow(storage, granularity) for storage in STORAGES]
    optimizers = [torch.optim.Adam(network.parameters(), 0.01) for network in networks]
    size = (5, 4) if granularity == "linear" else (5, 4, 5, 5)
    inputs = torch.randn(size, generator=drawn(7), dtype=torch.float64)
    choose, bare = random.Random(first), 0
    for seed in range(10):
        change = _change(networks[0], choose)
        for storage, network, optimizer in zip(STORAGES, networks, optimizers, strict=True):
            step(network, optimizer, inputs)
            with crossover(storage):
                edit(network, change, inputs, optimizer=optimizer, seed=seed)
            step(network, optimizer, inputs)
        same(*networks)
        bare += any(layer.connections == 0 for layer in layers(networks[0]))
    assert bare > 2


def _narrow(storage: Storage, granularity: str) -> nn.Sequential:
    sizes = ((4, 3, 0.3), (3, 4, 0.1), (4, 3, 0.3))
    with crossover(storage):
        made: list[StoredLayer] = [
            _layer(*one, granularity, drawn(seed)) for seed, one in enumerate(sizes)
        ]
    return nn.Sequential(made[0], nn.Tanh(), made[1], nn.Tanh(), made[2]).double()


def _layer(
    inputs: int, outputs: int, density: float, granularity: str, generator: torch.Generator
) -> StoredLayer:
    if granularity == "linear":
        return StandardSparseLayer(inputs, outputs, density=density, generator=generator)
    kind: Granularity = "weight" if granularity == "weight" else "kernel"
    density /= 4 if kind == "weight" else 2
    return SparseConv2d(inputs, outputs, 2, density=density, granularity=kind, generator=generator)


def _change(network: nn.Module, choose: random.Random) -> Edit:
    number = choose.choice([0, 1])
    name, units = str(2 * number), layers(network)[number].out_channels
    if units > 1 and choose.random() < 0.5:
        return RemoveNeurons(name, (choose.randrange(units),))
    if choose.random() < 0.3:
        return SplitNeurons(name, (choose.randrange(units),))
    return AddNeurons(name, 1)
