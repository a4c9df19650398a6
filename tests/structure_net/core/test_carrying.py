"""What optimizers remember follows a weight that was given another form beside all edits."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from structure_net.core.carrying import Carries


def padded(state: torch.Tensor) -> torch.Tensor:
    return torch.cat((state, state.new_zeros(1)))


def step(optimizer: torch.optim.Optimizer, weight: nn.Parameter) -> None:
    weight.grad = torch.ones_like(weight)
    optimizer.step()


@pytest.mark.parametrize("times", [1, 2])
def test_moments_follow_every_change_once_before_the_next_step(times: int) -> None:
    weight, carries = nn.Parameter(torch.zeros(3)), Carries()
    optimizer = torch.optim.SGD([weight], lr=0.0, momentum=1.0)
    step(optimizer, weight)
    for _ in range(times):
        carries.note(weight, padded)
        weight.grad = None
        weight.data = padded(weight.data)
    step(optimizer, weight)
    step(optimizer, weight)
    moments = optimizer.state[weight]["momentum_buffer"]
    assert moments.tolist() == [3.0] * 3 + [2.0] * times


def test_an_optimizer_that_came_later_and_one_of_other_weights_stay_as_they_are() -> None:
    weight, carries = nn.Parameter(torch.zeros(3)), Carries()
    carries.note(weight, padded)
    weight.data = padded(weight.data)
    later = torch.optim.SGD([weight], lr=0.0, momentum=1.0)
    other = torch.optim.SGD([nn.Parameter(torch.zeros(3))], lr=0.0, momentum=1.0)
    step(later, weight)
    carries.follow(later)
    carries.follow(other)
    assert later.state[weight]["momentum_buffer"].shape == (4,)
    assert not other.state
