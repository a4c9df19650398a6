"""What a look takes from a loader is missing from nobody's loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from structure_net.core.network_factory import create_standard_network
from structure_net.evolution import ComposableEvolutionSystem, EveryNSteps, NetworkContext
from structure_net.evolution.batches import aside
from structure_net.evolution.components import ConnectionAnalyzer, RigL, StandardNetworkTrainer
from structure_net.integrations import LoopBatches

DATA = TensorDataset(torch.arange(48.0).reshape(12, 4) / 48, torch.arange(12) % 2)


class Stream(IterableDataset[Any]):
    """Yields the samples, anew for each loop."""

    def __iter__(self) -> Iterator[Any]:
        return (DATA[place] for place in range(len(DATA)))


class Spent(Stream):
    """Is its own iterator: each sample comes once."""

    def __init__(self) -> None:
        self.rest = iter([DATA[place] for place in range(len(DATA))])

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self.rest)


def growing() -> ComposableEvolutionSystem:
    system = ComposableEvolutionSystem([ConnectionAnalyzer(2)])
    return system.add_component(RigL(0.3), when=EveryNSteps(3))


def kept_workers() -> DataLoader[Any]:
    return DataLoader(DATA, 3, shuffle=True, num_workers=1, persistent_workers=True)


def test_a_look_in_an_epoch_leaves_persistent_workers_where_they_are() -> None:
    network, loader = create_standard_network([4, 8, 2], density=0.3, seed=0), kept_workers()
    optimizer = torch.optim.Adam(network.parameters())
    session = growing().attach(network, optimizer=optimizer, data_loader=loader)
    labels: list[int] = []
    for inputs, targets in loader:
        loss = nn.functional.cross_entropy(network(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        labels += (inputs[:, 0] * 12).round().int().tolist()
        if session.after_step(loss):
            assert len(labels) == 9
        assert len(labels) <= len(DATA)
    assert sorted(labels) == list(range(12))


def test_a_trainer_keeps_its_workers_beside_looks() -> None:
    loader = kept_workers()
    context = NetworkContext(create_standard_network([4, 8, 2], density=0.3, seed=0), loader)
    system = growing().add_component(StandardNetworkTrainer(1))
    evolved = system.evolve_network(context, 1)
    assert evolved.history.step == 4
    assert loader.persistent_workers
    assert loader._iterator is not None


def test_batches_beside_a_loop_are_those_of_the_loader() -> None:
    loader = kept_workers()
    torch.manual_seed(0)
    wanted = [inputs for inputs, _ in loader]
    torch.manual_seed(0)
    found = [inputs for inputs, _ in aside(loader)]
    assert torch.equal(torch.stack(found), torch.stack(wanted))
    plain = DataLoader(DATA, 3)
    assert aside(plain) is plain


@pytest.mark.parametrize("shared", [True, False])
def test_held_out_batches_of_the_same_loader_are_beside_it(shared: bool) -> None:
    loader = kept_workers()
    context = NetworkContext(nn.Linear(4, 2), loader, validation_loader=loader)
    if not shared:
        context = replace(context, data_loader=[])
    loop = iter(loader)
    next(loop)
    assert len(list(context.held_out_batches())) == 4
    assert len(list(loop)) == (3 if shared else 0)


def test_an_iterator_is_refused_where_a_look_would_spend_it() -> None:
    network = create_standard_network([4, 8, 2], density=0.3, seed=0)
    batches = (batch for batch in DataLoader(DATA, 3))
    with pytest.raises(ValueError, match="take batches away from who iterates it; got <generator"):
        growing().attach(network, data_loader=batches)
    assert len(list(batches)) == 4


def test_looks_of_an_integration_leave_a_stream_of_its_loop_alone() -> None:
    loader = DataLoader(Stream(), 3, num_workers=1, persistent_workers=True)
    loop, looked_at = iter(loader), LoopBatches(loader, tuple, shuffle=False)
    next(loop)
    assert len(list(looked_at)) == 4
    assert len(list(loop)) == 3


def test_a_data_set_that_is_its_own_iterator_is_refused() -> None:
    loader = DataLoader(Spent(), 3)
    with pytest.raises(ValueError, match="data_loader's dataset is an iterator"):
        growing().resume(NetworkContext(nn.Linear(4, 2), loader))
    assert len(list(loader)) == 4
