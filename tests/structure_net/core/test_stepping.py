"""Steps run with hooks and records as those of PyTorch's optimizers do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from structure_net.core.optimizers import Adam
from structure_net.core.stepping import watched, with_hooks

MAKES: list[Callable[..., Optimizer]] = [Adam, torch.optim.Adam]


def _one(make: Callable[..., Optimizer]) -> Optimizer:
    parameter = nn.Parameter(torch.ones(3))
    parameter.grad = torch.ones(3)
    return make([parameter], lr=0.1)


@pytest.mark.parametrize("make", MAKES)
def test_hooks_run_in_the_order_of_torch(make: Callable[..., Optimizer]) -> None:
    told: list[str] = []
    optimizer = _one(make)
    handles = [
        register_optimizer_step_pre_hook(lambda *_: told.append("all before")),
        register_optimizer_step_post_hook(lambda *_: told.append("all after")),
    ]
    optimizer.register_step_pre_hook(lambda *_: told.append("before"))
    optimizer.register_step_post_hook(lambda *_: told.append("after"))
    try:
        optimizer.step()
    finally:
        for handle in handles:
            handle.remove()
    assert told == ["all before", "before", "after", "all after"]


@pytest.mark.parametrize("make", MAKES)
def test_a_hook_may_give_other_arguments(make: Callable[..., Optimizer]) -> None:
    optimizer = _one(make)
    optimizer.register_step_pre_hook(lambda one, args, kwargs: ((one, lambda: 7.0), {}))
    assert optimizer.step() == 7.0


@pytest.mark.parametrize("make", MAKES)
def test_a_hook_that_gives_something_else_is_refused(make: Callable[..., Optimizer]) -> None:
    optimizer = _one(make)
    optimizer.register_step_pre_hook(lambda *_: "more")  # type: ignore[arg-type]  # wrong
    with pytest.raises(RuntimeError, match="more"):
        optimizer.step()


@pytest.mark.parametrize("make", MAKES)
def test_a_profiler_sees_steps_and_resets(make: Callable[..., Optimizer]) -> None:
    optimizer = _one(make)
    with torch.autograd.profiler.profile() as seen:
        assert watched()
        optimizer.step()
        optimizer.zero_grad()
    assert not watched()
    names = {event.name for event in seen.function_events or ()}
    assert names >= {"Optimizer.step#Adam.step", "Optimizer.zero_grad#Adam.zero_grad"}


@pytest.mark.parametrize("none", [True, False])
@pytest.mark.parametrize("make", MAKES)
def test_gradients_are_forgotten_or_zero(make: Callable[..., Optimizer], none: bool) -> None:
    optimizer = _one(make)
    (parameter,) = optimizer.param_groups[0]["params"]
    optimizer.zero_grad(set_to_none=none)
    held: Any = parameter.grad
    assert held is None if none else not held.any()


def test_torch_does_not_wrap_a_step_with_hooks_again() -> None:
    class Own(Adam):
        @with_hooks
        def step(self, closure: Any = None) -> None:  # type: ignore[override]  # returns nothing
            told.append("step")

    told: list[str] = []
    optimizer = _one(Own)
    optimizer.register_step_pre_hook(lambda *_: told.append("before"))
    optimizer.step()
    assert told == ["before", "step"]
