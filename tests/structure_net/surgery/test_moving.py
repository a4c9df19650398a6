"""A move of connections is a removal and an addition in one edit.

Both ways write the same numbers, so that values, moments and gradients are compared bit for bit.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from structure_net.core import SparseConv2d, StandardSparseLayer, TemporaryPatchLayer, assign
from structure_net.core.pairs import PairTable
from structure_net.core.sparsity import SparseLayer
from structure_net.core.storage import StoredLayer
from structure_net.errors import SurgeryError
from structure_net.surgery import (
    AddConnections,
    AddNeurons,
    Edit,
    EditEntry,
    EventEntry,
    Journal,
    MoveConnections,
    RemoveConnections,
    apply,
    architecture,
    diff,
    edit,
    plan,
    preview,
    replay,
)
from structure_net.surgery.edits import ConnectionEdit, changes_of
from structure_net.surgery.leaf_moves import leaf_changes, sparse_layer
from structure_net.surgery.moves import Reconnect
from structure_net.surgery.records import edit_from_data, edit_to_data
from tests.laws.storages import STORAGES, Storage, crossover

Optimizer = Callable[[nn.Module], torch.optim.Optimizer]


def linear(draw: torch.Generator) -> SparseLayer:
    return StandardSparseLayer(9, 8, density=0.3, generator=draw)


def kernels(draw: torch.Generator) -> SparseLayer:
    return SparseConv2d(3, 8, 3, padding=1, density=0.4, generator=draw)


def single_weights(draw: torch.Generator) -> SparseLayer:
    return SparseConv2d(3, 4, 3, padding=1, density=0.3, granularity="weight", generator=draw)


LAYERS = (linear, kernels, single_weights)
OPTIMIZERS: dict[str, Optimizer] = {
    "Adam": lambda model: torch.optim.Adam(model.parameters(), lr=0.01),
    "SGD": lambda model: torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9),
}


def trained(
    make: Callable[[torch.Generator], SparseLayer], storage: Storage, optimizer: str = "Adam"
) -> tuple[nn.Sequential, torch.optim.Optimizer]:
    """A layer, its optimizer's moments after a few steps, and a gradient."""
    draw = torch.Generator().manual_seed(0)
    with crossover(storage):
        model = nn.Sequential(make(draw)).double()
    made = OPTIMIZERS[optimizer](model)
    for _ in range(3):
        step(model, draw)
        made.step()
    step(model, draw)
    return model, made


def step(model: nn.Module, draw: torch.Generator) -> None:
    layer = model[0]  # type: ignore[index]  # a Sequential
    shape = (5, 3, 4, 4) if layer.channel_dim == 1 else (5, 9)
    model.zero_grad()
    model(torch.randn(shape, generator=draw, dtype=torch.float64)).square().mean().backward()


def chosen(layer: SparseLayer, *, again: bool = True) -> MoveConnections:
    """A third of the connections goes; some come at places that are free, one at its own."""
    live, absent = torch.tensor(layer.pattern.pairs), (~layer.pattern.mask()).nonzero()
    gone, come = live[::3], absent[::4]
    come = torch.cat((gone[1:2], come)) if again else come
    return MoveConnections("0", as_pairs(gone), as_pairs(come), scale=0.5)


def as_pairs(table: Tensor) -> tuple[tuple[int, int], ...]:
    return tuple((int(row), int(column)) for row, column in table.tolist())


def in_two(move: MoveConnections) -> tuple[RemoveConnections, AddConnections]:
    return (
        RemoveConnections(move.layer, move.removed),
        AddConnections(move.layer, move.added, move.scale),
    )


def state(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Weights, gradients and moments."""
    found = [*model.state_dict().values()]
    for parameter in model.parameters():
        assert parameter.grad is not None
        moments = optimizer.state[parameter].items()
        found += [parameter.grad, *(one for _, one in sorted(moments) if torch.is_tensor(one))]
    return [one.clone() for one in found]


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("handed", [True, False], ids=("handed over", "follows"))
def test_a_move_is_a_removal_and_then_an_addition(
    make: Callable[[torch.Generator], SparseLayer], storage: Storage, optimizer: str, handed: bool
) -> None:
    results = []
    for whole in (True, False):
        model, made = trained(make, storage, optimizer)
        move = chosen(model[0])  # type: ignore[arg-type]  # a sparse layer
        with crossover(storage):
            for change in (move,) if whole else in_two(move):
                edit(model, change, None, optimizer=made if handed else None, seed=7)
        made.state_dict()  # an optimizer that was not handed over follows here
        results.append(state(model, made))
    assert equal(*results)


@pytest.mark.parametrize("storage", STORAGES)
def test_what_stays_keeps_its_moments_and_what_comes_begins_without(storage: Storage) -> None:
    model, optimizer = trained(linear, storage)
    layer = model[0]
    assert isinstance(layer, StoredLayer)
    move = chosen(layer)

    def moments() -> Tensor:
        average: Tensor = optimizer.state[layer.weight]["exp_avg"]
        if layer.storage == "masked":
            return average.clone()
        found = average.new_zeros(layer.pattern.shape)
        found[layer.pattern.rows, layer.pattern.columns] = average
        return found

    before, pattern = moments(), layer.pattern.mask()
    with crossover(storage):
        edit(model, move, None, optimizer=optimizer)
    moved = torch.tensor((*move.removed, *move.added))
    assert not moments()[moved[:, 0], moved[:, 1]].any()
    stays = pattern.clone()
    stays[moved[:, 0], moved[:, 1]] = False
    assert torch.equal(moments()[stays], before[stays])
    assert bool(before[stays].any())


def test_a_pair_that_goes_and_comes_is_born_anew() -> None:
    model, optimizer = trained(linear, "live")
    layer = model[0]
    assert isinstance(layer, StoredLayer)
    pair = layer.pattern.pairs[4]
    with crossover("live"):
        edit(model, MoveConnections("0", (pair,), (pair,)), None, optimizer=optimizer)
        assert layer.pattern.pairs[4] == pair
        assert float(layer.weight[4].detach()) == 0.0
        assert float(optimizer.state[layer.weight]["exp_avg_sq"][4]) == 0.0
        edit(model, MoveConnections("0", (pair,), (pair,), scale=1.0), None, optimizer=optimizer)
        assert float(layer.weight[4].detach()) != 0.0


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("make", LAYERS)
def test_a_move_is_undone_bit_for_bit(
    make: Callable[[torch.Generator], SparseLayer], storage: Storage
) -> None:
    model, optimizer = trained(make, storage)
    before = state(model, optimizer)
    done = apply(model, chosen(model[0]), None, optimizer=optimizer)  # type: ignore[arg-type]  # sparse
    assert not equal(state(model, optimizer), before)
    done.undo()
    assert equal(state(model, optimizer), before)


LIVE, FREE = ((0, 0), (0, 1), (1, 2)), ((0, 2), (1, 0))


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(
    ("removed", "added", "said"),
    [
        ((FREE[0],), (FREE[1],), "unit 0 is not connected to input unit 2"),
        ((LIVE[0],), (LIVE[1],), "unit 0 is connected to input unit 1 already"),
        ((FREE[0],), (LIVE[1],), "unit 0 is not connected to input unit 2"),
        ((LIVE[0],), (LIVE[0], LIVE[2]), "unit 1 is connected to input unit 2 already"),
        (((2, 0),), (FREE[1],), r"must lie in a layer of shape \(2, 3\); got \(2, 0\)"),
        ((LIVE[0],), ((0, 3),), r"must lie in a layer of shape \(2, 3\); got \(0, 3\)"),
        ((LIVE[0], LIVE[0]), (FREE[1],), r"given once; \(0, 0\) is repeated"),
        ((LIVE[0],), (FREE[1], FREE[1]), r"given once; \(1, 0\) is repeated"),
        (LIVE, (FREE[0],), "without a connection; keep at least one"),
        ((), (FREE[0],), "removed is empty; .* or use AddConnections"),
        ((LIVE[0],), (), "added is empty; .* or use RemoveConnections"),
    ],
)
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_a_move_that_cannot_be_is_refused_in_one_line_and_changes_nothing(
    storage: Storage,
    removed: tuple[tuple[int, int], ...],
    added: tuple[tuple[int, int], ...],
    said: str,
    scale: float,
) -> None:
    draw = torch.Generator().manual_seed(0)
    with crossover(storage):
        layer = StandardSparseLayer(3, 2, density=1.0, generator=draw)
        assign(layer, layer.disconnected((*FREE, (1, 1))))
    model = nn.Sequential(layer)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    assert layer.pattern.pairs == LIVE
    before = state(model, optimizer)
    with pytest.raises(SurgeryError, match=said) as caught:
        edit(model, MoveConnections("0", removed, added, scale), None, optimizer=optimizer)
    assert "\n" not in str(caught.value)
    assert equal(state(model, optimizer), before)


def test_moves_of_one_layer_in_one_plan_follow_each_other() -> None:
    model, _ = trained(linear, "live")
    layer = sparse_layer(model, "0")
    moved = chosen(layer, again=False)
    live = set(layer.pattern.pairs) - set(moved.removed) | set(moved.added)
    back = Reconnect("0", moved.added[:1], moved.removed[:1], 0.0)
    ((name, changes),) = leaf_changes(model, (*plan(moved), back), 0)
    assert name == "0"
    assign(model, changes)
    layer.settle()
    assert set(layer.pattern.pairs) == live - {moved.added[0]} | {moved.removed[0]}


def test_connections_of_other_layers_do_not_move() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(SurgeryError, match="'0' is a Linear, no sparse layer"):
        edit(model, MoveConnections("0", ((0, 0),), ((0, 1),)), None)
    with pytest.raises(TypeError, match=r"MoveConnections\.added must be pairs of whole numbers"):
        MoveConnections("0", ((0, 0),), (1, 2))  # type: ignore[arg-type]  # what is refused


def test_a_layer_of_another_kind_moves_by_what_it_has() -> None:
    """`SparseLayer.moved` of layers that have none of their own."""
    base = StandardSparseLayer(5, 4, density=0.3, generator=torch.Generator().manual_seed(0))
    absent = (~base.pattern.mask()).nonzero()
    layer = TemporaryPatchLayer(base, as_pairs(absent[:2]))
    move = chosen(layer)
    models = [nn.Sequential(copy.deepcopy(layer)) for _ in range(2)]
    edit(models[0], move, torch.zeros(2, 5), seed=3)
    for change in in_two(move):
        edit(models[1], change, torch.zeros(2, 5), seed=3)
    one, other = (model[0] for model in models)
    assert isinstance(one, SparseLayer)
    assert isinstance(other, SparseLayer)
    assert one.pattern == other.pattern
    assert torch.equal(one.live_weights, other.live_weights)


def lineage(whole: bool) -> tuple[nn.Module, Journal]:
    """A network that grew and whose connections moved, by one edit or by two."""
    model, _ = trained(linear, "live")
    journal = Journal([EventEntry("start", detail=architecture(model))])
    for number in range(3):
        layer = model[0]
        assert isinstance(layer, StoredLayer)
        move = chosen(layer)
        for change in (move,) if whole else in_two(move):
            with crossover("live"):
                edit(model, change, None, seed=number)
            journal.append(EditEntry(change, seed=number))
    return model, journal


@pytest.mark.parametrize("whole", [True, False], ids=("one edit", "two edits"))
def test_journals_replay_from_json_whichever_way_connections_moved(whole: bool) -> None:
    model, journal = lineage(whole)
    read = Journal.from_json(journal.to_json())
    assert read == journal
    assert read.to_json() == journal.to_json()
    with crossover("live"):
        again = replay(trained(linear, "live")[0], read, None)
    one, other = model[0], again[0]  # type: ignore[index]  # Sequential
    assert one.pattern == other.pattern
    assert torch.equal(one.live_weights, other.live_weights)  # the start's weights are the same


def test_a_journal_counts_a_move_as_two_changes() -> None:
    one, two = (lineage(whole)[1] for whole in (True, False))
    assert (len(one), len(two)) == (4, 7)
    assert one.changes == two.changes == 7
    assert Journal.from_json(one.to_json()).changes == one.fork().changes == 7
    assert [changes_of(entry.edit) for entry in one.edits] == [2, 2, 2]
    assert not diff(one, two).same
    assert "MoveConnections" in str(diff(one, two))


@pytest.mark.parametrize("table", [True, False], ids=("table", "tuple"))
def test_a_move_is_json_data_and_back(table: bool) -> None:
    pairs = (((0, 1), (2, 3)), ((0, 2), (3, 1)))
    gone, come = (PairTable.of(np.array(one)) if table else one for one in pairs)
    move = MoveConnections("fc1", gone, come, scale=0.5)
    data = json.loads(json.dumps(edit_to_data(move)))
    assert data == {
        "type": "MoveConnections",
        "layer": "fc1",
        "removed": [[0, 1], [2, 3]],
        "added": [[0, 2], [3, 1]],
        "scale": 0.5,
    }
    assert edit_from_data(data) == move
    assert hash(edit_from_data(data)) == hash(move)


def test_a_move_is_planned_and_previewed() -> None:
    model, _ = trained(linear, "live")
    layer = model[0]
    assert isinstance(layer, StoredLayer)
    free = as_pairs((~layer.pattern.mask()).nonzero()[:1])
    move = MoveConnections("0", layer.pattern.pairs[:2], free)
    assert plan(move) == (Reconnect("0", move.removed, move.added, 0.0),)
    text = str(preview(model, move, None))
    assert text.endswith("2 fewer and 1 more connections")
    changes: Edit = move
    assert isinstance(changes, ConnectionEdit)
    assert not isinstance(AddNeurons("0", 1), ConnectionEdit)
