"""What optimizers remember follows a weight that was given another form beside all edits."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from structure_net.core import AveragedNetwork, StandardSparseLayer, TemporaryPatchLayer
from structure_net.core.carrying import Carried, carried, leaving
from structure_net.core.changes import TensorChange
from structure_net.core.crossover import Storage, set_crossover
from structure_net.core.moments import LeaveGroup
from structure_net.core.optimizers import Adam
from structure_net.core.storage import StoredLayer
from structure_net.errors import SurgeryError
from structure_net.surgery import RemoveConnections, edit, save_checkpoint, set_storage

KINDS: dict[str, Callable[[Any], Optimizer]] = {
    "own Adam": lambda held: Adam(held, lr=0.01),
    "Adam": lambda held: torch.optim.Adam(held, lr=0.01, amsgrad=True),
    "fused": lambda held: torch.optim.AdamW(held, lr=0.01, fused=True),
    "SGD": lambda held: torch.optim.SGD(held, lr=0.01, momentum=0.9),
    "RMSprop": lambda held: torch.optim.RMSprop(held, lr=0.01, momentum=0.9, centered=True),
    "Adagrad": lambda held: torch.optim.Adagrad(held, lr=0.01),
    "Adafactor": lambda held: torch.optim.Adafactor(held, lr=0.01),
}


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def made(storage: Storage = "live") -> Any:
    """A network of one layer."""
    set_crossover(storage)
    try:
        draw = torch.Generator().manual_seed(0)
        return nn.Sequential(StandardSparseLayer(8, 6, density=0.3, generator=draw).double())
    finally:
        set_crossover(None)


def train(model: nn.Module, *optimizers: Optimizer) -> None:
    for optimizer in optimizers:

        def closure(optimizer: Optimizer = optimizer) -> Any:
            optimizer.zero_grad()
            loss = (model(drawn(5, 8)) - 1).square().mean()
            loss.backward()
            return loss

        optimizer.step(closure)


def accept(model: Any, count: int = 3, storage: Storage = "live") -> None:
    """Takes in connections that were on trial."""
    free = (~model[0].pattern.mask()).nonzero()[:count]
    set_crossover(storage)
    try:
        model[0] = TemporaryPatchLayer(model[0], free).accept()
    finally:
        set_crossover(None)


def cut(model: Any, count: int = 3, **named: Any) -> None:
    set_crossover("live")
    try:
        pairs = model[0].pattern.pairs[:count]
        edit(model, RemoveConnections("0", pairs), drawn(2, 8), **named)
    finally:
        set_crossover(None)


def shapes(model: Any, optimizer: Optimizer) -> set[torch.Size]:
    state = optimizer.state[model[0].weight]
    return {value.shape for value in state.values() if isinstance(value, Tensor) and value.dim()}


def matrices(layer: StoredLayer, optimizer: Optimizer) -> dict[str, Tensor]:
    """What an optimizer remembers of each connection, as dense matrices."""
    found = {}
    for name, value in optimizer.state[layer.weight].items():
        if isinstance(value, Tensor) and value.shape == layer.weight.shape:
            found[name] = value.clone()
            if layer.storage == "live":
                found[name] = value.new_zeros(layer.pattern.shape)
                found[name][layer.pattern.rows, layer.pattern.columns] = value
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_what_every_optimizer_of_the_weight_remembers_follows_at_once(kind: str) -> None:
    model = made()
    held = list(model.parameters())
    optimizers = [KINDS[kind](held), KINDS[kind]([{"params": [one]} for one in held])]
    train(model, *optimizers)
    before = [matrices(model[0], one) for one in optimizers]
    for _ in range(2):
        accept(model)
        for optimizer, wanted in zip(optimizers, before, strict=True):
            found = matrices(model[0], optimizer)
            assert found.keys() == wanted.keys()
            assert all(torch.equal(found[name], wanted[name]) for name in wanted)
            assert shapes(model, optimizer) == {model[0].weight.shape}
    train(model, *optimizers)
    assert torch.isfinite(model[0].weight).all()


@pytest.mark.parametrize("kind", KINDS)
def test_moments_follow_into_the_other_storage(kind: str) -> None:
    model = made()
    optimizer = KINDS[kind](model.parameters())
    train(model, optimizer)
    accept(model, storage="masked")
    assert model[0].storage == "masked"
    train(model, optimizer)
    accept(model)
    assert model[0].storage == "live"
    train(model, optimizer)
    assert torch.isfinite(model[0].weight).all()


def test_a_state_of_an_earlier_length_that_comes_later_is_taken_as_it_is() -> None:
    """The weight went from 14 connections to 17 and back before the optimizer was made."""
    model = made()
    first = torch.optim.Adam(model.parameters())
    train(model, first)
    accept(model)
    cut(model, optimizer=first)
    train(model, first)
    later = torch.optim.Adam(model.parameters())
    later.load_state_dict(first.state_dict())
    wanted = matrices(model[0], first)
    train(model, later)
    model.zero_grad()
    assert shapes(model, later) == {model[0].weight.shape}
    moved = matrices(model[0], later)
    assert all(bool((moved[name] != wanted[name]).any()) for name in ("exp_avg", "exp_avg_sq"))


@pytest.mark.parametrize("kind", KINDS)
def test_edits_that_an_optimizer_has_yet_to_follow_come_first(kind: str) -> None:
    model, twin = made(), made()
    optimizer, other = KINDS[kind](model.parameters()), KINDS[kind](twin.parameters())
    train(model, optimizer)
    train(twin, other)
    cut(model)
    cut(twin, optimizer=other)
    for one in (model, twin):
        accept(one)
    train(model, optimizer)
    train(twin, other)
    assert torch.equal(model[0].weight, twin[0].weight)


def test_states_copies_and_pickles_between_are_those_of_the_weights_as_they_are() -> None:
    model = made()
    optimizer = Adam(model.parameters(), lr=0.01)
    train(model, optimizer)
    accept(model)
    twins = [copy.deepcopy((model, optimizer)), pickle.loads(pickle.dumps((model, optimizer)))]
    later = Adam(model.parameters(), lr=0.01)
    later.load_state_dict(optimizer.state_dict())
    for one, its in twins:
        train(one, its)
        accept(one)  # copies follow as well
        train(one, its)
        cut(one)
        train(one, its)
    train(model, optimizer)
    accept(model)
    train(model, optimizer)


def test_a_flat_history_refuses_before_anything_is_written() -> None:
    model = made()
    optimizer = torch.optim.LBFGS(model.parameters())
    accept(model)  # it has no history yet
    train(model, optimizer)
    before = model[0].weight.detach().clone()
    with pytest.raises(SurgeryError, match="LBFGS remembers flat history"):
        accept(model)
    assert torch.equal(model[0].weight, before)


def test_a_state_of_another_shape_refuses_before_anything_is_written() -> None:
    model = made()
    good, bad = Adam(model.parameters(), lr=0.01), Adam(model.parameters(), lr=0.01)
    train(model, good, bad)
    bad.state[model[0].weight]["exp_avg"] = drawn(3)
    before, kept = model[0].weight.detach().clone(), matrices(model[0], good)
    with pytest.raises(SurgeryError, match="'exp_avg' of shape \\(3,\\)"):
        accept(model)
    assert torch.equal(model[0].weight, before)
    found = matrices(model[0], good)
    assert all(torch.equal(found[name], kept[name]) for name in kept)


def test_inference_mode_refuses_and_no_grad_does_not() -> None:
    model = made()
    optimizer = Adam(model.parameters(), lr=0.01)
    train(model, optimizer)
    with torch.inference_mode(), pytest.raises(SurgeryError, match=r"use torch\.no_grad"):
        accept(model)
    with torch.no_grad():
        accept(model)
    train(model, optimizer)


def test_what_is_to_be_remembered_is_computed_first_and_written_by_itself() -> None:
    weight = nn.Parameter(torch.zeros(3))
    optimizer, other = (torch.optim.SGD([one], 0.1, 0.9) for one in (weight, nn.Parameter(weight)))
    weight.grad = torch.ones(3)
    optimizer.step()
    change = TensorChange("weight", torch.zeros(4), lambda one: torch.cat((one, one.new_zeros(1))))
    (found,) = carried({"weight": weight, "other": other.param_groups[0]["params"][0]}, [change])
    assert isinstance(found, Carried)
    assert optimizer.state[weight]["momentum_buffer"].tolist() == [1.0] * 3
    found.write()
    assert optimizer.state[weight]["momentum_buffer"].tolist() == [1.0] * 3 + [0.0]
    assert not other.state


@pytest.mark.parametrize("how", ["accept", "remove"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_weights_of_a_trial_that_ended_leave_their_optimizers(
    kind: str, how: str, tmp_path: Path
) -> None:
    model = made()
    optimizer = KINDS[kind](model.parameters())
    model[0] = TemporaryPatchLayer(model[0], (~model[0].pattern.mask()).nonzero()[:3])
    trial = list(model[0].patch.parameters())
    optimizer.add_param_group({"params": trial})
    alone, average = KINDS[kind](trial), AveragedNetwork(model)
    train(model, optimizer, alone)
    average.update()
    gone = weakref.ref(trial.pop())
    model[0] = getattr(model[0], how)()
    train(model, optimizer)
    alone.step()
    average.update()
    gc.collect()
    assert gone() is None
    held = [one for group in optimizer.param_groups for one in group["params"]]
    assert set(map(id, held)) == set(map(id, model.parameters()))
    save_checkpoint(tmp_path / "trial", model, optimizer=optimizer, example=drawn(2, 8))


def test_a_trial_beside_a_flat_history_is_removed_and_its_weights_stay_there() -> None:
    model = made()
    model[0] = TemporaryPatchLayer(model[0], (~model[0].pattern.mask()).nonzero()[:3])
    optimizer = torch.optim.LBFGS(model.parameters())
    train(model, optimizer)
    assert leaving(model[0].patch.parameters()) == ()
    model[0] = model[0].remove()
    train(model, optimizer)


def test_what_leaves_takes_its_name_along_and_comes_back_with_it() -> None:
    model: Any = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.named_parameters())
    (step,) = leaving([model.weight])
    assert isinstance(step, LeaveGroup)
    step.apply()
    assert optimizer.param_groups[0]["param_names"] == ["bias"]
    assert optimizer.param_groups[0]["params"] == [model.bias]
    step.revert()
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert [id(one) for one in optimizer.param_groups[0]["params"]] == [
        *map(id, model.parameters())
    ]


def test_schedulers_scalers_and_groups_go_on() -> None:
    model = made()
    groups = [{"params": [model[0].weight], "lr": 0.1}, {"params": [model[0].bias], "lr": 0.2}]
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for turn in range(3):
        optimizer.zero_grad()
        loss = model(drawn(5, 8)).square().mean()
        scaler.scale(loss).backward()
        if turn == 1:
            accept(model)  # between backward and step: gradients follow, too
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.1 / 8, 0.2 / 8]
    assert shapes(model, optimizer) == {model[0].weight.shape}


def test_a_switch_of_storage_that_is_yet_to_be_followed_comes_first() -> None:
    model = made()
    optimizer = torch.optim.Adafactor(model.parameters(), lr=0.01)
    train(model, optimizer)
    set_storage(model, "masked")
    accept(model)
    train(model, optimizer)
    assert torch.isfinite(model[0].weight).all()
