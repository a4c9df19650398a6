"""An optimizer's state finds its parameters by name."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from structure_net.errors import CheckpointError
from structure_net.evolution import EveryNSteps, NetworkContext
from structure_net.integrations import Growth, carry_lineage
from structure_net.surgery import AddNeurons, apply
from structure_net.surgery.optimizers import LOG, owner
from tests.structure_net.integrations.growing import network, samples, shapes, system


def by_kind(model: nn.Module) -> Optimizer:
    """Weights in one group, everything else in another."""
    weights = [p for p in model.parameters() if p.dim() == 2]
    others = [p for p in model.parameters() if p.dim() != 2]
    groups: list[dict[str, Any]] = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
    return AdamW(groups, lr=0.01)


def grown(steps: int = 4) -> tuple[nn.Module, Optimizer, Growth]:
    """A model that grew in width and depth in step 2, and its optimizer."""
    model, data = network(), samples()
    optimizer = by_kind(model)
    context = NetworkContext(model, [data])
    growth = Growth(system(EveryNSteps(2)), context, [optimizer])
    for _ in range(steps):
        step(model, optimizer, data)
        growth.after_step(samples=len(data[0]))
    return model, optimizer, growth


def step(model: nn.Module, optimizer: Optimizer, data: tuple[Tensor, Tensor]) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(data[0]), data[1]).backward()
    optimizer.step()


@pytest.mark.parametrize("first", ["model", "optimizer"])
def test_training_goes_on_the_same_with_an_optimizer_made_anew(first: str) -> None:
    model, optimizer, _ = grown(3)
    again = network(1)
    lineage = carry_lineage(again)
    if first == "model":
        again.load_state_dict(model.state_dict())
        follower = by_kind(again)
        follower.load_state_dict(deepcopy(optimizer.state_dict()))
    else:
        follower = by_kind(again)
        Growth(system(), NetworkContext(again, [samples()]), [follower])
        follower.load_state_dict(deepcopy(optimizer.state_dict()))
        again.load_state_dict(model.state_dict())
    assert lineage.journal.edits
    for _ in range(2):
        step(model, optimizer, samples())
        step(again, follower, samples())
    assert shapes(model) == shapes(again)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, again.get_parameter(name)), name


def test_parameters_of_others_are_told_apart_by_number() -> None:
    model, other = network(), nn.Linear(2, 2)
    optimizer = AdamW([*model.parameters(), *other.parameters()])
    Growth(system(), NetworkContext(model, [samples()]), [optimizer])
    names = optimizer.state_dict()["structure_net_parameters"]["names"]
    assert names == [["0.weight", "0.bias", "2.weight", "2.bias", "#0", "#1"]]


def test_an_optimizer_of_other_parameters_is_refused() -> None:
    model, optimizer, _ = grown()
    again = network()
    carry_lineage(again)
    again.load_state_dict(model.state_dict())
    follower = AdamW([again.get_parameter("2.weight")])
    with pytest.raises(CheckpointError, match="2 groups, this one has 1"):
        follower.load_state_dict(optimizer.state_dict())


def test_state_without_names_loads_as_ever() -> None:
    model = network()
    optimizer, plain = AdamW(model.parameters(), lr=0.5), AdamW(network().parameters(), lr=0.1)
    Growth(system(), NetworkContext(model, [samples()]), [optimizer])
    optimizer.load_state_dict(plain.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_growth_goes_on_from_a_state_that_is_loaded_in_between() -> None:
    model, _, growth = grown(1)
    early = deepcopy(model.state_dict())
    for _ in range(3):
        growth.after_step(samples=64)
    assert len(growth.context.journal.events("grew")) == 2
    model.load_state_dict(early)
    growth.after_step(samples=64)
    assert [e.detail["step"] for e in growth.context.journal.events("grew")] == [2]


def test_metrics_that_are_no_single_number_are_left_out() -> None:
    growth = grown(0)[2]
    growth.after_epoch(
        {"loss": torch.tensor(0.5), "curve": [1, 2], "name": "x", "map": torch.ones(2)}
    )
    assert dict(growth.context.history[0].metrics) == {"loss": 0.5}


class Wrapper(Optimizer):
    """As accelerate wraps an optimizer: without groups and state of its own."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer

    @property
    def param_groups(self):  # type: ignore[no-untyped-def, override]
        return self.optimizer.param_groups

    @property
    def state(self):  # type: ignore[no-untyped-def, override]
        return self.optimizer.state


@pytest.mark.parametrize("handed", [False, True])
def test_a_wrapped_optimizer_follows_once(handed: bool) -> None:
    model, data = network(), samples()
    optimizer = AdamW(model.parameters())
    wrapper = Wrapper(optimizer)
    step(model, optimizer, data)
    apply(model, AddNeurons("0", 2), data[0], optimizer=wrapper if handed else None)
    step(model, optimizer, data)
    assert owner(wrapper) is optimizer is owner(optimizer)
    assert all(optimizer.state[p]["exp_avg"].shape == p.shape for p in model.parameters())


def test_whoever_asks_is_told_of_new_optimizers() -> None:
    found: list[int] = []
    LOG.tell(lambda one: found.append(id(one)))
    optimizer = AdamW(network().parameters())
    assert found == [id(optimizer)]
