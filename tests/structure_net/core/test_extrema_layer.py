from __future__ import annotations

import pytest
import torch
from torch import nn

from structure_net.core import ExtremaAwareSparseLayer, assign, make_activation
from structure_net.evolution import observe
from structure_net.evolution.components import StandardExtremaAnalyzer


def layer(
    units: int = 4, momentum: float | None = None, activation: str = "relu"
) -> ExtremaAwareSparseLayer:
    made = ExtremaAwareSparseLayer(units, units, momentum=momentum, activation=activation).double()
    made.fill(torch.eye(units, dtype=torch.float64).flatten())
    return made


def batches() -> list[torch.Tensor]:
    noise = torch.Generator().manual_seed(0)
    return [torch.randn(5, 4, generator=noise, dtype=torch.float64) for _ in range(3)]


def test_without_momentum_statistics_are_those_of_all_batches() -> None:
    watched = layer()
    for batch in batches():
        watched(batch)
    seen = torch.cat(batches()).relu()
    torch.testing.assert_close(watched.minimum, seen.amin(0))
    torch.testing.assert_close(watched.maximum, seen.amax(0))
    torch.testing.assert_close(watched.mean, seen.mean(0))
    torch.testing.assert_close(watched.mean_square, seen.square().mean(0))
    assert watched.observed.tolist() == [3] * 4


def test_with_momentum_statistics_are_exponential_averages() -> None:
    watched = layer(momentum=0.2)
    for batch in batches():
        watched(batch)
    first, second, third = (batch.relu().amax(0) for batch in batches())
    torch.testing.assert_close(watched.maximum, 0.64 * first + 0.16 * second + 0.2 * third)


def test_nothing_is_observed_in_evaluation_mode() -> None:
    watched = layer().eval()
    watched(batches()[0])
    assert not bool(watched.observed.any())
    assert not bool(watched.dead().any())
    assert not bool(watched.saturated().any())


def test_the_output_is_before_the_activation() -> None:
    assert torch.equal(layer()(batches()[0]), batches()[0])


def test_reset_forgets() -> None:
    watched = layer()
    watched(batches()[0])
    watched.reset_statistics()
    assert not bool(watched.maximum.any())
    assert not bool(watched.observed.any())


def test_units_that_never_fire_are_dead() -> None:
    watched = layer()
    watched(torch.tensor([[-1.0, 0.005, 0.5, -3.0], [-2.0, 0.0, 0.0, 0.02]], dtype=torch.float64))
    assert watched.dead(0.01).tolist() == [True, True, False, False]


def test_a_unit_far_above_the_layer_s_mean_is_saturated() -> None:
    watched = layer(units=12)
    batch = torch.ones(3, 12, dtype=torch.float64)
    batch[:, 5] = 50
    watched(batch)
    assert watched.saturated(2.5).nonzero().tolist() == [[5]]


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_a_bounded_unit_with_a_small_mean_slope_is_saturated(activation: str) -> None:
    watched = layer(activation=activation)
    batch = torch.tensor([[6.0, -6.0, 0.5, 0.0], [-6.0, -7.0, 0.1, 6.0]], dtype=torch.float64)
    watched(batch)
    assert watched.saturated(slope=0.05).tolist() == [True, True, False, False]


def test_statistics_follow_their_units_and_newborn_ones_are_unobserved() -> None:
    watched = layer()
    for batch in batches():
        watched(batch)
    largest = watched.maximum.clone()
    assign(watched, watched.reindexed(0, [2, 0, -1], new="fresh"))
    assert watched.maximum.tolist() == [float(largest[2]), float(largest[0]), 0.0]
    assert watched.observed.tolist() == [3, 3, 0]
    newborn = torch.full((5, 4), 2.0, dtype=torch.float64)
    outputs = watched(newborn).detach()
    assert float(watched.maximum[2]) == pytest.approx(float(outputs[:, 2].relu().max()))


def test_statistics_survive_saving() -> None:
    watched, other = layer(), layer()
    watched(batches()[0])
    other.load_state_dict(watched.state_dict())
    assert torch.equal(other.maximum, watched.maximum)


def test_the_layer_and_the_analyzer_agree_on_dead_and_saturated_units() -> None:
    for activation in ("relu", "tanh", "sigmoid", "leaky_relu"):
        watched = layer(units=12, activation=activation)
        scale = torch.tensor([-9.0, -3.0, -2.0, -1.0, -0.5, -0.001, 0.0, 0.5, 1.0, 2.0, 3.0, 99.0])
        batch = scale.double() * torch.tensor([[1.0], [0.9]], dtype=torch.float64)
        watched(batch)
        network = nn.Sequential(watched, make_activation(activation), nn.Linear(12, 2).double())
        seen = observe(network, [(batch, torch.zeros(2))]).layers["0"]
        judge = StandardExtremaAnalyzer()
        assert torch.equal(watched.dead(), judge.dead(seen))
        assert torch.equal(watched.saturated(), judge.saturated(seen))
