"""An average follows its network through edits and switches, the same in either storage.

Tolerance: float64; training sums some dozen numbers in another order in the other storage.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from structure_net.core import AveragedNetwork
from structure_net.core.averaging import guard_averages
from structure_net.core.optimizers import AdamW
from structure_net.core.storage import StoredLayer
from structure_net.surgery import (
    AddConnections,
    AddNeurons,
    Edit,
    InsertLayer,
    RemoveConnections,
    RemoveNeurons,
    edit,
    set_storage,
)
from tests.laws.storages import STORAGES, Storage, crossover, layers, network


def drawn(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, average: AveragedNetwork) -> None:
    """Three steps, each of them averaged."""
    for _ in range(3):
        optimizer.zero_grad()
        (model(drawn(5, 12)) - drawn(5, 4, seed=2)).square().mean().backward()
        optimizer.step()
        average.update()


def moved(model: Any, number: int, count: int) -> tuple[Edit, Edit]:
    """As many connections of a layer go as come elsewhere: nothing but the index tells."""
    layer, name = layers(model)[number], f"layers.{number}"
    free = (~layer.pattern.mask()).nonzero()[:count].tolist()
    come = tuple((row, column) for row, column in free)
    return RemoveConnections(name, layer.pattern.pairs[:count]), AddConnections(name, come)


def stages(model: Any) -> Iterator[tuple[Edit, ...]]:
    yield moved(model, 0, 5)
    yield (AddNeurons("layers.0", 3),)
    yield (RemoveConnections("layers.1", layers(model)[1].pattern.pairs[::2]),)
    yield (RemoveNeurons("layers.0", (0, 4)),)
    yield moved(model, 1, 4)
    yield (InsertLayer("layers.0"),)


@pytest.mark.parametrize("decay", [0.8, None])
@pytest.mark.parametrize("handed", [True, False])
def test_averages_are_the_same_in_either_storage_through_edits_and_switches(
    decay: float | None, handed: bool
) -> None:
    """The third network changes its storage behind each edit."""
    models: list[Any] = [network("live"), network("masked"), network("masked")]
    forced: tuple[Storage, ...] = ("live", "masked", "masked")
    optimizers = [AdamW(model.parameters(), lr=0.01) for model in models]
    averages = [AveragedNetwork(model, decay=decay) for model in models]
    for number, changes in enumerate(zip(*map(stages, models), strict=True)):
        for model, optimizer, average, storage, several in zip(
            models, optimizers, averages, forced, changes, strict=True
        ):
            train(model, optimizer, average)
            with crossover(storage):
                for change in several:
                    told = optimizer if handed else None
                    edit(model, change, drawn(2, 12), optimizer=told, seed=number)
        switched = optimizers[2] if handed else None
        set_storage(models[2], STORAGES[number % 2], optimizer=switched)
        found = [average.network() for average in averages]
        outputs = [one(drawn(7, 12, seed=3)) for one in found]
        for one, output in zip(found[1:], outputs[1:], strict=True):
            torch.testing.assert_close(output, outputs[0], rtol=0, atol=1e-10)
            for mine, yours in zip(layers(found[0]), layers(one), strict=True):
                assert mine.pattern == yours.pattern
                torch.testing.assert_close(
                    mine.dense_weight(), yours.dense_weight(), rtol=0, atol=1e-10
                )


@pytest.mark.parametrize("storage", STORAGES)
def test_kept_connections_keep_their_average_and_new_ones_begin_with_their_value(
    storage: Storage,
) -> None:
    model = network(storage)
    layer = layers(model)[0]
    average = AveragedNetwork(model, decay=0.5)
    expected = torch.zeros(layer.pattern.shape, dtype=torch.float64)
    known = torch.zeros_like(expected, dtype=torch.bool)
    for turn in range(6):
        layer.fill(drawn(layer.connections, seed=turn))
        average.update()
        now, mask = layer.dense_weight().detach(), layer.pattern.mask()
        expected = torch.where(known, (expected + now) / 2, now) * mask
        known = mask.clone()
        with crossover(storage):
            for change in moved(model, 0, 7):
                edit(model, change, drawn(2, 12), seed=turn)
        mask = layer.pattern.mask()
        known &= mask
        inside = torch.where(known, expected, layer.dense_weight().detach()) * mask
        found = layers(average.network())[0]
        torch.testing.assert_close(found.dense_weight().detach(), inside, rtol=0, atol=1e-12)


def test_a_state_goes_on_where_it_was_and_one_of_another_network_is_refused() -> None:
    model = network("live")
    optimizer, average = AdamW(model.parameters(), lr=0.01), AveragedNetwork(model, decay=0.9)
    train(model, optimizer, average)
    twin, kept = copy.deepcopy(model), copy.deepcopy(average.state_dict())
    train(model, optimizer, average)
    again = AveragedNetwork(twin, decay=0.9)
    again.load_state_dict(kept)
    with torch.no_grad():
        for own, other in zip(twin.parameters(), model.parameters(), strict=True):
            own.copy_(other)
    again.update()
    expected = 0.9 * kept["layers.0.weight"]["average"] + 0.1 * layers(model)[0].weight
    torch.testing.assert_close(layers(again.network())[0].weight, expected)
    with pytest.raises(ValueError, match=r"average of 'layers\.0\.weight'.*saved beside it"):
        AveragedNetwork(network("masked")).load_state_dict(kept)
    with pytest.raises(ValueError, match="decay must be None or in"):
        AveragedNetwork(model, decay=1.0)
    model.load_state_dict(network("masked", seed=1).state_dict())
    with pytest.raises(RuntimeError, match="given other weights, and by no edit"):
        average.update()


def test_a_state_without_counts_is_refused_and_the_averages_stay() -> None:
    model = network("live")
    average = AveragedNetwork(model)
    average.update()
    kept = copy.deepcopy(average.state_dict())
    lacking: Any = copy.deepcopy(kept)
    del lacking["layers.1.bias"]["seen"]
    other = copy.deepcopy(kept)
    other["layers.1.bias"]["seen"] = torch.zeros(99)
    for state in (lacking, other):
        with pytest.raises(ValueError, match=r"'layers\.1\.bias' must be 'average' and 'seen'"):
            average.load_state_dict(state)
        assert list(average.state_dict()) == list(kept)


def test_averages_follow_the_networks_type_and_layers_that_its_owner_exchanges() -> None:
    model: Any = nn.Sequential(nn.Linear(3, 3, bias=False)).float()
    average: Any = AveragedNetwork(model, decay=0.5)
    average.update()
    first = model[0].weight.detach().double()
    model.double()
    with torch.no_grad():
        model[0].weight.add_(1.0)
    assert average.network()[0].weight.dtype is torch.float64
    average.update()
    torch.testing.assert_close(average.network()[0].weight.detach(), first + 0.5)
    model[0] = nn.Linear(3, 3, bias=False)
    average.update()
    with torch.no_grad():
        model[0].weight.add_(1.0)
    average.update()
    torch.testing.assert_close(average.network()[0].weight, model[0].weight - 0.5)


@pytest.mark.parametrize("storage", STORAGES)
def test_an_average_by_position_refuses_a_network_whose_connections_moved(storage: Storage) -> None:
    model = network(storage)
    mean = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    mean.update_parameters(model)
    changes = moved(model, 0, 5)
    with crossover(storage):
        for change in changes:
            edit(model, change, drawn(2, 12))
    guard_averages()
    assert layers(model)[0].connections == layers(mean)[0].connections
    before = [parameter.clone() for parameter in mean.parameters()]
    with pytest.raises(RuntimeError, match="AveragedNetwork, which follows"):
        mean.update_parameters(model)
    assert all(map(torch.equal, before, mean.parameters()))
    with crossover(storage):
        for change in changes:
            edit(mean.module, change, drawn(2, 12))
    mean.update_parameters(model)
    assert isinstance(layers(mean)[0], StoredLayer)
    set_storage(model, STORAGES[storage == "live"])
    with pytest.raises(RuntimeError, match="a switch of storage"):
        mean.update_parameters(model)
