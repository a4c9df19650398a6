"""The formulas of the DEN library, by hand on two units of three inputs."""

from __future__ import annotations

import pytest
import torch

from structure_net.evolution.metrics import (
    Unavailable,
    activity_trace,
    growth_score,
    metabolic_cost,
    outgoing_importance,
    parameter_efficiency,
    relative,
    weak_units,
    weight_activity,
)

WEIGHT = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.25, -0.25]])
BIAS = torch.tensor([-0.5, 0.5])


def test_activity_sums_the_incoming_weights_and_the_bias() -> None:
    assert weight_activity(WEIGHT, BIAS).tolist() == [4.0, 1.0]
    assert weight_activity(WEIGHT).tolist() == [3.5, 0.5]
    kernels = WEIGHT.reshape(2, 3, 1, 1).expand(2, 3, 2, 2)
    assert weight_activity(kernels).tolist() == [14.0, 2.0]


def test_importance_is_the_norm_of_the_outgoing_weights_and_the_bias() -> None:
    outgoing = torch.tensor([[3.0, 0.0], [4.0, -1.0]])
    assert outgoing_importance(outgoing, BIAS).tolist() == [5.5, 1.5]
    kernels = outgoing.reshape(2, 2, 1, 1).expand(2, 2, 2, 2)
    assert outgoing_importance(kernels).tolist() == [10.0, 2.0]


def test_relative_values_are_parts_of_the_largest() -> None:
    found = relative(weight_activity(WEIGHT, BIAS))
    assert not isinstance(found, Unavailable)
    assert found.tolist() == [1.0, 0.25]
    assert isinstance(relative(torch.zeros(3)), Unavailable)


def test_a_trace_is_the_mean_of_the_window() -> None:
    assert activity_trace([9.0, 1.0, 2.0, 3.0], 3) == pytest.approx(2.0)
    assert activity_trace([1.0, 2.0], 5) == pytest.approx(1.5)
    for window, history in ((0, [1.0]), (3, [])):
        with pytest.raises(ValueError, match="window"):
            activity_trace(history, window)


def test_weak_units_are_below_the_threshold() -> None:
    assert weak_units(torch.tensor([1.0, 0.1, 0.05]), 0.1).tolist() == [False, False, True]


def test_growth_goes_to_active_and_to_small_layers() -> None:
    assert growth_score(0.5, 9) == pytest.approx(1.1)
    assert growth_score(0.0, 0) == pytest.approx(1.0)


def test_cost_and_efficiency_are_their_formulas() -> None:
    assert metabolic_cost(1000, 0.01) == pytest.approx(0.01 * 1000**1.2)
    assert parameter_efficiency(0.5, 3000) == pytest.approx(0.5)
    assert isinstance(parameter_efficiency(0.0, 10), Unavailable)
