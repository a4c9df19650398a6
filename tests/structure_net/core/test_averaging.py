"""Averages are of the connections that the network has, and go on wherever they are taken along.

Edits and switches of storage: ``tests/laws/test_storage_averages.py``.
"""

from __future__ import annotations

import copy
import gc
import pickle
import struct
import weakref
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
import torch
from torch import nn

from structure_net.core import AveragedNetwork, SparseConv2d, StandardSparseLayer
from structure_net.core.crossover import Storage, set_crossover
from structure_net.core.storage import StoredLayer
from structure_net.surgery import AddNeurons, apply, set_storage

STORAGES: tuple[Storage, ...] = ("live", "masked")
X = torch.ones(2, 8)


def network(storage: Storage, *, seed: int = 0, kind: str = "linear") -> Any:
    """A sparse layer and a dense one; networks of another seed have as many other connections."""
    draw = torch.Generator().manual_seed(seed)
    set_crossover(storage)
    try:
        if kind == "convolution":
            return nn.Sequential(SparseConv2d(3, 4, 3, density=0.5, generator=draw))
        first = StandardSparseLayer(8, 6, density=0.3, generator=draw)
        return nn.Sequential(first, nn.ReLU(), nn.Linear(6, 2))
    finally:
        set_crossover(None)


def averaged(model: nn.Module, **named: Any) -> AveragedNetwork:
    """After two updates."""
    average = AveragedNetwork(model, **named)
    for value in (1.0, 2.0):
        for layer in model.modules():
            if isinstance(layer, StoredLayer):
                layer.fill(value)
        average.update()
    return average


@pytest.mark.parametrize("kind", ["linear", "convolution"])
@pytest.mark.parametrize("storage", STORAGES)
def test_a_state_of_as_many_other_connections_is_refused_and_nothing_is_loaded(
    storage: Storage, kind: str
) -> None:
    model, other = network(storage, kind=kind), network(storage, seed=1, kind=kind)
    state = copy.deepcopy(averaged(model).state_dict())
    assert other[0].weight.shape == model[0].weight.shape
    average = averaged(other)
    kept = copy.deepcopy(average.state_dict())
    with pytest.raises(ValueError, match=r"'0\.weight' of other connections than the network has"):
        average.load_state_dict(state)
    for name, held in average.state_dict().items():
        assert all(torch.equal(value, kept[name][key]) for key, value in held.items())
    again = AveragedNetwork(copy.deepcopy(model))
    again.load_state_dict(state)
    assert torch.equal(again.state_dict()["0.weight"]["average"], state["0.weight"]["average"])


@pytest.mark.parametrize("storage", STORAGES)
def test_a_state_without_a_digest_loads_as_before(storage: Storage) -> None:
    model = network(storage)
    state = averaged(model).state_dict()
    older = {name: {k: v for k, v in held.items() if v.dim()} for name, held in state.items()}
    del older["0.weight"]["connections"]
    assert set(older["0.weight"]) == set(older["2.weight"]) == {"average", "seen"}
    AveragedNetwork(copy.deepcopy(model)).load_state_dict(older)


def test_the_digest_of_connections_is_the_same_in_either_storage_and_on_every_machine() -> None:
    digests = [averaged(network(one)).state_dict()["0.weight"]["connections"] for one in STORAGES]
    assert torch.equal(*digests)
    assert digests[0].dtype is torch.uint8
    pattern = network("live")[0].pattern
    numbers = (6, 8, *pattern.rows.tolist(), *pattern.columns.tolist())
    told = struct.pack(f"<{len(numbers)}q", *numbers)
    assert bytes(digests[0].tolist()) == sha256(told).digest()


def test_an_average_refuses_to_go_on_where_its_list_loaded_as_many_other_connections() -> None:
    model, other = network("live"), network("live", seed=1)
    average = averaged(model)
    state = copy.deepcopy(averaged(other).state_dict())
    model.load_state_dict(model.state_dict())  # the same connections
    average.update()
    model.load_state_dict(other.state_dict())
    twin = copy.deepcopy(average)
    for one in (average, twin):
        for use in (one.update, one.network, one.state_dict):
            with pytest.raises(RuntimeError, match="it loaded a state since"):
                use()
    AveragedNetwork(model).update()
    average.load_state_dict(state)
    average.update()
    assert average.network()[0].pattern == other[0].pattern  # type: ignore[index]  # a Sequential


def test_a_mask_that_was_loaded_begins_where_connections_are_new() -> None:
    model, other = network("masked"), network("masked", seed=1)
    average = averaged(model, decay=0.5)
    kept = model[0].mask.clone()
    other[0].fill(5.0)
    model.load_state_dict(other.state_dict())
    average.update()
    found: Any = average.network()
    wanted = torch.where(kept, (1.5 + 5.0) / 2, 5.0) * other[0].mask
    assert torch.equal(found[0].weight, wanted)


COPIES: dict[str, Callable[[Any], Any]] = {
    "copied": copy.deepcopy,
    "pickled": lambda both: pickle.loads(pickle.dumps(both)),
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("storage", STORAGES)
def test_copies_behind_an_edit_go_on_as_the_first(how: str, storage: Storage) -> None:
    model = network(storage)
    average = averaged(model)
    apply(model, AddNeurons("0", 2), X)
    set_storage(model, STORAGES[storage == "live"])
    twin, its = COPIES[how]((model, average))
    for one, network_ in ((average, model), (its, twin)):
        with torch.no_grad():
            network_[2].bias.fill_(3.0)
        one.update()
    mine, yours = average.network(), its.network()
    for a, b in zip(mine.parameters(), yours.parameters(), strict=True):
        assert torch.equal(a, b)


def test_averages_may_be_taken_and_read_in_inference_mode() -> None:
    model = network("live")
    average = AveragedNetwork(model)
    with torch.inference_mode():
        average.update()
        found: Any = average.network()
    average.update()
    found(X).sum().backward()
    assert found[0].weight.grad is not None


def test_averages_of_half_precision_are_of_single() -> None:
    """A thousandth of the way at a time, which bfloat16 rounds away near 1."""
    model: Any = nn.Linear(2, 2, bias=False).to(torch.bfloat16)
    nn.init.ones_(model.weight)
    average = AveragedNetwork(model, decay=0.999)
    average.update()
    nn.init.constant_(model.weight, 2.0)
    for _ in range(500):
        average.update()
    found = average.state_dict()["weight"]["average"]
    torch.testing.assert_close(found, torch.full((2, 2), 2 - 0.999**500), rtol=0, atol=1e-4)
    assert average.network().weight.dtype is torch.bfloat16
    again = AveragedNetwork(model)
    again.load_state_dict(average.state_dict())
    assert again.state_dict()["weight"]["average"].dtype is torch.float32


def test_whole_numbers_are_as_they_are() -> None:
    model: Any = nn.Linear(2, 2)
    model.levels = nn.Parameter(torch.tensor([3, 4]), requires_grad=False)
    average: Any = AveragedNetwork(model)
    average.update()
    model.levels.data += 1
    average.update()
    assert average.network().levels.tolist() == [4, 5]


def test_what_its_owner_took_out_of_the_network_is_forgotten() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    average = averaged(model)
    gone = weakref.ref(model[1].weight)
    model[1] = nn.Linear(2, 2)
    average.update()
    gc.collect()
    assert gone() is None
    assert set(average.state_dict()) == {name for name, _ in model.named_parameters()}
