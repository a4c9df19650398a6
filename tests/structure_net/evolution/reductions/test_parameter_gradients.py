from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from structure_net.evolution.reductions.parameter_gradients import (
    ParameterGradient,
    ParameterGradients,
)
from structure_net.evolution.reductions.passing import Pass


def test_moments_are_those_of_the_batches_gradients() -> None:
    draw = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    network[0].bias.requires_grad_(False)
    inputs = torch.randn(12, 3, generator=draw, dtype=torch.float64)
    targets = torch.randint(2, (12,), generator=draw)
    batches = [(inputs[:6], targets[:6]), (inputs[6:9], targets[6:9]), (inputs[9:], targets[9:])]
    reduction = ParameterGradients()
    passing = Pass(network, (reduction,))
    passing.run(batches, F.cross_entropy)
    found = reduction.result(passing.readers)
    assert set(found) == {"0.weight", "2.weight", "2.bias"}
    assert all(parameter.grad is None for parameter in network.parameters())
    for name, one in found.items():
        parameter = network.get_parameter(name)
        single = torch.stack(
            [torch.autograd.grad(F.cross_entropy(network(x), y), parameter)[0] for x, y in batches]
        )
        torch.testing.assert_close(one.mean, single.mean(0), atol=1e-12, rtol=0)
        torch.testing.assert_close(one.second_moment, single.square().mean(0), atol=1e-12, rtol=0)
        assert isinstance(one, ParameterGradient)
        assert one.batches == 3
        assert one.batch_size == pytest.approx(3 / (1 / 6 + 1 / 3 + 1 / 3))


def test_half_precision_is_summed_in_single() -> None:
    network = nn.Linear(3, 2).bfloat16()
    reduction = ParameterGradients()
    passing = Pass(network, (reduction,))
    passing.run([(torch.ones(4, 3).bfloat16(), torch.zeros(4).long())], F.cross_entropy)
    assert reduction.result(passing.readers)["weight"].mean.dtype == torch.float32
