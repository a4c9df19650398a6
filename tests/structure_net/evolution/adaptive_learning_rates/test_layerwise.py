"""Depth decay and trust ratios against the formulas of their papers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from structure_net.evolution.adaptive_learning_rates import (
    LayerwiseAdaptiveRates,
    UnifiedAdaptiveLearning,
)
from structure_net.evolution.adaptive_learning_rates.layerwise import depth_decay, trust_ratio


def test_the_last_layer_keeps_its_rate_and_each_in_front_loses() -> None:
    assert [depth_decay(depth, 3, 0.5) for depth in range(3)] == [0.25, 0.5, 1.0]


def test_the_trust_ratio_is_weights_over_step() -> None:
    weights, step = torch.tensor([3.0, 4.0]), torch.tensor([0.0, 2.0])
    assert trust_ratio(weights, step, 0.1, 10.0) == pytest.approx(0.1 * 5 / 2)
    assert trust_ratio(weights, step, 100.0, 10.0) == 10.0


def test_weights_or_steps_of_norm_zero_keep_their_rate() -> None:
    assert trust_ratio(torch.zeros(2), torch.ones(2), 0.1, 10.0) == 1.0
    assert trust_ratio(torch.ones(2), torch.zeros(2), 0.1, 10.0) == 1.0


def test_a_step_of_sgd_is_that_of_lars() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    UnifiedAdaptiveLearning(LayerwiseAdaptiveRates(trust_coefficient=0.02)).attach(optimizer, model)
    model(torch.randn(8, 4, dtype=torch.float64)).square().mean().backward()
    weight, bias = model.weight.detach().clone(), model.bias.detach().clone()
    gradient, slope = model.weight.grad, model.bias.grad
    assert gradient is not None
    assert slope is not None
    optimizer.step()
    local = 0.02 * weight.norm() / gradient.norm()
    torch.testing.assert_close(
        model.weight.detach(), weight - 0.5 * local * gradient, rtol=0, atol=1e-14
    )
    torch.testing.assert_close(model.bias.detach(), bias - 0.5 * slope, rtol=0, atol=1e-14)


def test_a_first_step_of_adam_is_that_of_lamb() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3, bias=False).double()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1, eps=1e-8)
    rule = LayerwiseAdaptiveRates(trust_coefficient=1.0, largest_trust=100.0)
    UnifiedAdaptiveLearning(rule).attach(optimizer, model)
    model(torch.randn(8, 4, dtype=torch.float64)).square().mean().backward()
    weight, gradient = model.weight.detach().clone(), model.weight.grad
    assert gradient is not None
    optimizer.step()
    direction = gradient / (gradient.abs() + 1e-8) + 0.1 * weight
    expected = weight - 0.01 * weight.norm() / direction.norm() * direction
    # The step is found as a difference of weights of size .3 at rate .01, so to 1e-16 * 30.
    torch.testing.assert_close(model.weight.detach(), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "arguments", [{"decay": 0.0}, {"trust_coefficient": -1.0}, {"largest_trust": float("nan")}]
)
def test_arguments_out_of_range_are_refused_with_their_value(arguments: dict[str, float]) -> None:
    name = next(iter(arguments))
    with pytest.raises(ValueError, match=f"{name} must be positive; got"):
        LayerwiseAdaptiveRates(**arguments)
