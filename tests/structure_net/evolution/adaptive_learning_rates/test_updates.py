"""A factor on an update is another learning rate, whatever the optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from structure_net.core.optimizers import Adam
from structure_net.evolution.adaptive_learning_rates import (
    LayerwiseAdaptiveRates,
    Place,
    RateRule,
    UnifiedAdaptiveLearning,
)
from tests.interrupting import interrupted_everywhere

Groups = Iterable[Tensor] | list[dict[str, object]]
Factory = Callable[[Groups], Optimizer]

OPTIMIZERS: dict[str, Factory] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05),
    "nesterov": lambda p: torch.optim.SGD(
        p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-2
    ),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adam compiled": lambda p: Adam(p, lr=0.01, weight_decay=1e-2),
    "adam fused": lambda p: torch.optim.Adam(p, lr=0.01, fused=True),
    "adam foreach": lambda p: torch.optim.Adam(p, lr=0.01, foreach=True, weight_decay=1e-2),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.05),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.01),
}


class Quarter(RateRule):
    """A quarter of the rate, for everything."""

    title: ClassVar[str] = "quarter"

    def overall(self, memory: object) -> float:
        return 0.25


class ByEntry(RateRule):
    """Half the rate for each first row."""

    title: ClassVar[str] = "rows"

    def local(self, place: Place) -> Tensor:
        factor = torch.ones_like(place.parameter)
        factor[0] = 0.5
        return factor


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2)
    ).double()


def trained(model: nn.Module, optimizer: Optimizer, steps: int = 20) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        inputs = torch.randn(8, 6, generator=generator, dtype=torch.float64)
        optimizer.zero_grad()
        model(inputs).square().sum(1).mean().backward()
        optimizer.step()
    return [parameter.detach().clone() for parameter in model.parameters()]


def assert_same(first: list[Tensor], second: list[Tensor]) -> None:
    for one, other in zip(first, second, strict=True):
        # 20 steps of values near 1, each of a few roundings of 1e-16.
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_depth_decay_equals_parameter_groups_at_the_decayed_rates(name: str) -> None:
    model, twin = network(), network()
    optimizer = OPTIMIZERS[name](model.parameters())
    UnifiedAdaptiveLearning(LayerwiseAdaptiveRates(decay=0.5)).attach(optimizer, model)
    base = optimizer.param_groups[0]["lr"]
    groups = [
        {"params": list(twin[layer].parameters()), "lr": base * factor}
        for layer, factor in ((0, 0.25), (2, 0.5), (4, 1.0))
    ]
    assert_same(trained(model, optimizer), trained(twin, OPTIMIZERS[name](groups)))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_factor_for_everything_equals_a_lower_rate(name: str) -> None:
    model, twin = network(), network()
    optimizer, plain = OPTIMIZERS[name](model.parameters()), OPTIMIZERS[name](twin.parameters())
    UnifiedAdaptiveLearning(Quarter()).attach(optimizer, model)
    for group in plain.param_groups:
        group["lr"] /= 4
    assert_same(trained(model, optimizer), trained(twin, plain))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_factor_for_entries_scales_their_part_of_the_step_alone(name: str) -> None:
    model, twin = network(), network()
    optimizer, plain = OPTIMIZERS[name](model.parameters()), OPTIMIZERS[name](twin.parameters())
    UnifiedAdaptiveLearning(ByEntry()).attach(optimizer, model)
    start = [parameter.detach().clone() for parameter in model.parameters()]
    scaled, whole = trained(model, optimizer, steps=1), trained(twin, plain, steps=1)
    for before, one, other in zip(start, scaled, whole, strict=True):
        expected = other - before
        expected[0] *= 0.5
        torch.testing.assert_close(one - before, expected, rtol=0, atol=1e-14)


def test_factors_of_several_rules_multiply() -> None:
    model, twin = network(), network()
    optimizer, plain = (torch.optim.Adam(m.parameters(), lr=0.01) for m in (model, twin))
    both = UnifiedAdaptiveLearning(Quarter(), LayerwiseAdaptiveRates(decay=0.5))
    both.attach(optimizer, model)
    UnifiedAdaptiveLearning(LayerwiseAdaptiveRates(decay=0.5)).attach(plain, twin)
    plain.param_groups[0]["lr"] = 0.0025
    assert_same(trained(model, optimizer), trained(twin, plain))


def test_a_scheduler_sees_the_rate_that_it_set() -> None:
    model, twin = network(), network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    plain = torch.optim.SGD(twin.parameters(), lr=0.025)
    UnifiedAdaptiveLearning(Quarter()).attach(optimizer, model)
    schedules = [
        torch.optim.lr_scheduler.CosineAnnealingLR(one, T_max=10) for one in (optimizer, plain)
    ]
    for _ in range(8):
        first, second = trained(model, optimizer, 1), trained(twin, plain, 1)
        for schedule in schedules:
            schedule.step()
        assert_same(first, second)
        assert optimizer.param_groups[0]["lr"] == schedules[0].get_last_lr()[0]


def test_a_rate_kept_as_a_tensor_is_scaled_too() -> None:
    model, twin = network(), network()
    rate = torch.tensor(0.04, dtype=torch.float64)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    plain = torch.optim.Adam(twin.parameters(), lr=0.01)
    UnifiedAdaptiveLearning(Quarter()).attach(optimizer, model)
    assert_same(trained(model, optimizer), trained(twin, plain))
    assert optimizer.param_groups[0]["lr"] is rate


def test_a_step_that_raises_leaves_the_rate_as_it_was() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attached = UnifiedAdaptiveLearning(Quarter()).attach(optimizer, model)
    trained(model, optimizer, 1)

    def broken() -> float:
        raise RuntimeError("no loss")

    with pytest.raises(RuntimeError, match="no loss"):
        optimizer.step(broken)
    attached.detach()
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_detached_rates_leave_the_optimizer_alone() -> None:
    model, twin = network(), network()
    optimizer, plain = (torch.optim.Adam(m.parameters(), lr=0.01) for m in (model, twin))
    with UnifiedAdaptiveLearning(Quarter()).attach(optimizer, model):
        pass
    assert_same(trained(model, optimizer), trained(twin, plain))


def test_a_frozen_parameter_stays_where_it_is() -> None:
    model = network()
    model[0].weight.requires_grad_(False)
    before = model[0].weight.clone()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    UnifiedAdaptiveLearning(LayerwiseAdaptiveRates(decay=0.5)).attach(optimizer, model)
    trained(model, optimizer, 3)
    assert torch.equal(model[0].weight, before)


def test_an_optimizer_is_attached_to_its_own_model() -> None:
    model, other = nn.Linear(2, 3), nn.Linear(2, 3)
    rates, optimizer = UnifiedAdaptiveLearning(Quarter()), torch.optim.SGD(model.parameters())
    with pytest.raises(ValueError, match="SGD holds none of the parameters of this Linear"):
        rates.attach(optimizer, other)
    with pytest.raises(TypeError, match="attach takes an optimizer and its model; got Linear"):
        rates.attach(model, optimizer)  # type: ignore[arg-type]


_REGISTERING = "torch/optim/optimizer.py", "utils/hooks.py"


def test_an_interrupt_while_rates_are_attached_leaves_no_hook() -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rates = UnifiedAdaptiveLearning(LayerwiseAdaptiveRates())
    hooks = (
        optimizer._optimizer_step_pre_hooks,
        optimizer._optimizer_step_post_hooks,
        optimizer._optimizer_load_state_dict_post_hooks,
    )
    known = [dict(held) for held in hooks]
    count = 0
    for _held in interrupted_everywhere(lambda: rates.attach(optimizer, model), _REGISTERING):
        count += 1
        assert [dict(held) for held in hooks] == known
    assert count > 3
    assert [len(held) for held in hooks] == [len(held) + 1 for held in known]
