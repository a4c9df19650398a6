"""Whatever optimizer trains a sparse network, and whatever goes with it: the same weights in either
storage, through edits and switches.

Tolerances as in `test_storage`: float64, other orders of sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from structure_net.core.optimizers import Adam as OwnAdam
from structure_net.errors import SurgeryError
from structure_net.surgery import AddConnections, AddNeurons, Edit, RemoveConnections, edit
from structure_net.surgery import set_storage as switch
from tests.laws.storages import Storage, crossover, layers, network

Make = Callable[[Iterable[Tensor]], Optimizer]
INPUTS = torch.randn(16, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
TARGETS = torch.randn(16, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
optim = torch.optim
MAKES: dict[str, Make] = {
    "momentum": lambda p: optim.SGD(p, lr=0.05, momentum=0.9),
    "nesterov": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "fused_momentum": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, fused=True),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01, momentum=0.9, weight_decay=0.1),
    "rmsprop_foreach": lambda p: optim.RMSprop(p, lr=0.01, foreach=True),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.05, initial_accumulator_value=0.1),
    "adagrad_fused": lambda p: optim.Adagrad(p, lr=0.05, fused=True),
    "adadelta": optim.Adadelta,
    "adamax": lambda p: optim.Adamax(p, lr=0.01),
    "nadam": lambda p: optim.NAdam(p, lr=0.01, decoupled_weight_decay=True, weight_decay=0.1),
    "radam": lambda p: optim.RAdam(p, lr=0.01),
    "rprop": lambda p: optim.Rprop(p, lr=0.01),
    "asgd": lambda p: optim.ASGD(p, lr=0.05, t0=3),
    "amsgrad": lambda p: optim.Adam(p, lr=0.01, amsgrad=True),
    "adam_fused": lambda p: optim.Adam(p, lr=0.01, fused=True),
    "adam_foreach": lambda p: optim.Adam(p, lr=0.01, foreach=True),
    "adam_own": lambda p: OwnAdam(p, lr=0.01),
    "adamw": lambda p: optim.AdamW(p, lr=torch.tensor(0.01), weight_decay=0.1),
}


def train(model: nn.Module, optimizer: Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        (model(INPUTS) - TARGETS).square().mean().backward()
        optimizer.step()


def stages(model: nn.Module) -> Iterator[Edit]:
    yield AddNeurons("layers.0", 3)
    yield RemoveConnections("layers.1", layers(model)[1].pattern.pairs[::3])
    free = (~layers(model)[0].pattern.mask()).nonzero()[:9].tolist()
    yield AddConnections("layers.0", tuple(map(tuple, free)))


def same(one: nn.Module, other: nn.Module) -> None:
    for first, second in zip(layers(one), layers(other), strict=True):
        for tensors in ((first.dense_weight(), second.dense_weight()), (first.bias, second.bias)):
            torch.testing.assert_close(*tensors, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", MAKES)
def test_optimizers_go_the_same_way_in_either_storage_through_edits_and_switches(name: str) -> None:
    """The third network switches its storage, and its optimizer is not handed over."""
    models = [network("live"), network("masked"), network("masked")]
    forced: tuple[Storage, ...] = ("live", "masked", "live")
    optimizers = [MAKES[name](model.parameters()) for model in models]
    for number, changes in enumerate(zip(*map(stages, models), strict=True)):
        for model, optimizer, storage in zip(models, optimizers, forced, strict=True):
            train(model, optimizer, 4)
            told = None if model is models[2] else optimizer
            with crossover(storage):
                edit(model, changes[0], INPUTS, optimizer=told, seed=number)
            train(model, optimizer, 2)
        switch(models[2], "masked")
        same(models[0], models[1])
        same(models[0], models[2])


def test_clipping_schedules_groups_and_averages_are_the_same_in_either_storage() -> None:
    models = [network("live"), network("masked")]
    averages = []
    for model in models:
        storage = layers(model)[0].storage
        biases = [one for name, one in model.named_parameters() if "bias" in name]
        weights = [one for name, one in model.named_parameters() if "bias" not in name]
        groups = [{"params": weights, "weight_decay": 0.1}, {"params": biases, "lr": 0.1}]
        optimizer = optim.SGD(groups, lr=0.05, momentum=0.9)
        schedule = optim.lr_scheduler.OneCycleLR(optimizer, [0.1, 0.2], total_steps=13)
        average = optim.swa_utils.AveragedModel(
            model, multi_avg_fn=optim.swa_utils.get_ema_multi_avg_fn(0.9)
        )
        for step in range(12):
            optimizer.zero_grad()
            (model(INPUTS) - TARGETS).square().mean().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            schedule.step()
            average.update_parameters(model)
            if step == 5:
                with crossover(storage):
                    change = next(stages(model))
                    edit(model, change, INPUTS, optimizer=optimizer)
                    edit(average.module, change, INPUTS)
        vector = nn.utils.parameters_to_vector(model.parameters())
        nn.utils.vector_to_parameters(vector, model.parameters())
        averages.append(average.module)
    same(*models)
    same(*averages)


@pytest.mark.parametrize("handed", [True, False])
def test_the_squares_of_adafactor_follow_a_change_of_storage(handed: bool) -> None:
    model = network("masked")
    optimizer = optim.Adafactor(model.parameters(), lr=0.01)
    told = optimizer if handed else None
    train(model, optimizer, 3)
    layer = layers(model)[1]
    weight = layer.weight
    row, column = (optimizer.state[weight][key] for key in ("row_var", "col_var"))
    squares = row @ column / row.mean(-2, keepdim=True)
    switch(model, "live", optimizer=told)
    kept = optimizer.state_dict()["state"][2]
    pattern = layer.pattern
    assert isinstance(kept, dict)
    assert set(kept) == {"step", "variance"}
    torch.testing.assert_close(
        kept["variance"], squares[pattern.rows, pattern.columns], rtol=1e-12, atol=0
    )
    train(model, optimizer, 3)
    spread = torch.zeros(pattern.shape, dtype=torch.float64)
    spread[pattern.rows, pattern.columns] = optimizer.state[weight]["variance"]
    switch(model, "masked", optimizer=told)
    kept = optimizer.state_dict()["state"][2]
    assert set(kept) == {"step", "row_var", "col_var"}
    torch.testing.assert_close(kept["row_var"], spread.mean(1, keepdim=True))
    torch.testing.assert_close(kept["col_var"], spread.mean(0, keepdim=True))
    train(model, optimizer, 3)
    assert layer.off_pattern() == 0


def test_sparse_adam_and_lbfgs_are_refused_with_the_reason() -> None:
    model = network("live")
    with pytest.raises(RuntimeError, match="dense gradients"):
        train(model, optim.SparseAdam(list(model.parameters())), 1)
    lbfgs = optim.LBFGS(model.parameters())

    def loss() -> Tensor:
        lbfgs.zero_grad()
        value: Tensor = (model(INPUTS) - TARGETS).square().mean()
        value.backward()
        return value

    lbfgs.step(loss)
    with pytest.raises(SurgeryError, match="LBFGS remembers"):
        edit(model, AddNeurons("layers.0", 3), INPUTS, optimizer=lbfgs)
