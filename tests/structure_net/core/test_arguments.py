"""An argument of the wrong kind is refused by its name, its value and the rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from structure_net.core.arguments import (
    check_module,
    check_number,
    check_optimizer,
    check_positive,
    check_whole,
    shown,
)
from structure_net.den import DynamicExpandableNetwork, LossBasedGrowth
from structure_net.evolution import ComposableEvolutionSystem, Tournament, Trial
from structure_net.evolution.adaptive_learning_rates import (
    GrowthPhaseScheduler,
    LayerwiseAdaptiveRates,
)
from structure_net.evolution.components import (
    GradientAnalyzer,
    PruningGrowthStrategy,
    StandardNetworkTrainer,
    WidthGrowthStrategy,
)


@pytest.mark.parametrize("value", [2.5, "3", True, None, torch.tensor(3)])
def test_what_is_no_whole_number_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match=r"^count must be a whole number; got .*\.$"):
        check_whole(1, count=value)


@pytest.mark.parametrize("value", ["a", True, None, 1j])
def test_what_is_no_number_is_refused(value: object) -> None:
    for check in (check_number, check_positive):
        with pytest.raises(TypeError, match=r"^ratio must be a number; got .*\.$"):
            check(ratio=value)


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"count must be 1 or more; got 0\."):
        check_whole(1, size=3, count=0)
    with pytest.raises(ValueError, match=r"rate must be 0 or more; got nan\."):
        check_number(0, rate=float("nan"))
    with pytest.raises(ValueError, match=r"rate must be a number; got nan\."):
        check_number(rate=float("nan"))
    check_whole(None, place=-3)
    with pytest.raises(ValueError, match=r"rate must be positive; got 0\."):
        check_positive(rate=0)


def test_numbers_of_numpy_are_numbers() -> None:
    check_whole(1, count=np.int64(1))
    check_number(0, rate=np.float32(0.0))
    check_positive(rate=np.float64(0.1))


def test_an_optimizer_must_hold_parameters_of_its_model() -> None:
    model, other = nn.Linear(2, 3), nn.Linear(2, 3)
    check_optimizer(None, model)
    check_optimizer(torch.optim.SGD([model.weight, other.weight]), model)
    with pytest.raises(ValueError, match="SGD holds none of the parameters of this Linear"):
        check_optimizer(torch.optim.SGD(other.parameters()), model)
    with pytest.raises(TypeError, match="got the class Adam"):
        check_optimizer(torch.optim.Adam)


@pytest.mark.parametrize("model", [nn.Linear, None, "model"])
def test_a_model_is_a_module(model: Any) -> None:
    for check in (check_module, ComposableEvolutionSystem().attach):
        with pytest.raises(TypeError, match=r"^model must be a torch.nn.Module; got .*instance\.$"):
            check(model)


def test_values_are_shown_whole_or_with_dots() -> None:
    assert shown(nn.Linear) == "the class Linear"
    assert shown("a") == "'a'"
    assert shown("a" * 100) == "'" + "a" * 76 + "..."


@pytest.mark.parametrize(
    ("made", "arguments", "message"),
    [
        (WidthGrowthStrategy, {"count": 2.5}, "count must be a whole number; got 2.5"),
        (WidthGrowthStrategy, {"count": "3"}, "count must be a whole number; got '3'"),
        (WidthGrowthStrategy, {"ratio": "a"}, "ratio must be a number; got 'a'"),
        (WidthGrowthStrategy, {"initialiser": "gradmax"}, r"such as GradMax\(\); got 'gradmax'"),
        (Trial, {"batches": 2.5}, "batches must be a whole number"),
        (Trial, {"learning_rate": "fast"}, "learning_rate must be a number"),
        (Tournament, {"largest": 1.5}, "largest must be a whole number"),
        (GradientAnalyzer, {"max_batches": 1.5}, "max_batches must be a whole number"),
        (GradientAnalyzer, {"max_batches": "10"}, "max_batches must be a whole number"),
        (GrowthPhaseScheduler, {"growth_steps": "10"}, "growth_steps must be a whole number"),
        (LayerwiseAdaptiveRates, {"decay": "a"}, "decay must be a number"),
        (LossBasedGrowth, {"patience": "3"}, "patience must be a whole number"),
        (PruningGrowthStrategy, {"budget": {"density": "a"}}, "budget of density must be a num"),
        (StandardNetworkTrainer, {"rates": "growth"}, "rates must be a RateRule .* got 'growth'"),
    ],
)
def test_constructors_refuse_what_is_of_the_wrong_kind(
    made: Any, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        made(**arguments)


@pytest.mark.parametrize("sizes", [4, [4.5], "ab"])
def test_hidden_sizes_are_a_list_of_whole_numbers(sizes: Any) -> None:
    with pytest.raises(TypeError, match="hidden_sizes must be a"):
        DynamicExpandableNetwork(3, 2, sizes)
