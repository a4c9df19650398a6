"""Backing off on plateaus, and how rates are put together, explained and refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from structure_net.errors import MissingAnalysisError
from structure_net.evolution.adaptive_learning_rates import (
    AgeBasedRates,
    ExponentialBackoffScheduler,
    GrowthPhaseScheduler,
    LayerwiseAdaptiveRates,
    Rate,
    UnifiedAdaptiveLearning,
)
from structure_net.surgery import AddNeurons, edit

EXAMPLE = torch.zeros(2, 3)


def factors(rule: ExponentialBackoffScheduler, losses: list[float]) -> list[float]:
    memory: Mapping[str, Any] = {}
    found = []
    for loss in losses:
        memory = rule.after_epoch(memory, {"validation_loss": loss}, grew=False)
        found.append(rule.overall(memory))
    return found


def test_the_rate_halves_after_each_patience_without_improvement() -> None:
    rule = ExponentialBackoffScheduler(0.5, patience=2)
    assert factors(rule, [1, 1, 1, 1, 1, 0.5, 0.5]) == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_an_improvement_below_min_delta_counts_as_none() -> None:
    rule = ExponentialBackoffScheduler(0.5, patience=1, min_delta=0.1)
    assert factors(rule, [1.0, 0.95, 0.8]) == [1, 0.5, 0.5]


def test_the_factor_has_a_floor() -> None:
    rule = ExponentialBackoffScheduler(0.1, patience=1, min_factor=0.05)
    assert factors(rule, [1, 1, 1, 1])[-1] == 0.05


def test_a_loss_that_is_not_finite_is_no_improvement() -> None:
    rule = ExponentialBackoffScheduler(0.5, patience=1)
    assert factors(rule, [1.0, float("nan")]) == [1, 0.5]


def test_higher_accuracy_is_better() -> None:
    rule = ExponentialBackoffScheduler(0.5, patience=1, metric="validation_accuracy")
    memory = rule.after_epoch({}, {"validation_accuracy": 0.5}, grew=False)
    memory = rule.after_epoch(memory, {"validation_accuracy": 0.6}, grew=False)
    assert rule.overall(memory) == 1
    assert rule.overall(rule.after_epoch(memory, {"validation_accuracy": 0.5}, grew=False)) == 0.5


def test_growth_takes_the_backoff_back() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    rule = ExponentialBackoffScheduler(0.5, patience=1)
    attached = UnifiedAdaptiveLearning(rule).attach(optimizer, model)

    def epoch() -> Rate:
        optimizer.zero_grad()
        model(torch.ones(4, 3)).square().mean().backward()
        optimizer.step()
        attached.after_epoch({"validation_loss": 1.0})
        return attached.rates()[0]

    assert [epoch().effective[1] for _ in range(3)] == pytest.approx([0.1, 0.05, 0.025])
    edit(model, AddNeurons("0", 1), EXAMPLE)
    assert epoch().effective[1] == pytest.approx(0.1)
    assert epoch().effective[1] == pytest.approx(0.05)


def test_a_metric_that_was_not_measured_is_named_with_those_that_were() -> None:
    with pytest.raises(MissingAnalysisError, match=r"'validation_loss'.*there is: train_loss"):
        ExponentialBackoffScheduler().after_epoch({}, {"train_loss": 1.0}, grew=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backoff": 1.0}, r"backoff must be in \(0, 1\); got 1.0."),
        ({"patience": 0}, "patience must be 1 or more; got 0."),
        ({"min_delta": -1.0}, "min_delta must be 0 or more; got -1.0."),
        ({"min_factor": 2.0}, r"min_factor must be in \(0, 1\]; got 2.0."),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ExponentialBackoffScheduler(**arguments)


def test_the_table_says_how_each_rate_comes_about() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    rules = UnifiedAdaptiveLearning(
        LayerwiseAdaptiveRates(decay=0.5), GrowthPhaseScheduler(scaffold_factor=0.2)
    )
    attached = rules.attach(optimizer, model)
    for _ in range(2):
        model(torch.ones(4, 3)).square().mean().backward()
        optimizer.step()
    edit(model, AddNeurons("0", 1), EXAMPLE)
    lines = attached.explain().splitlines()
    assert re.split(r"  +", lines[0]) == [
        "parameter",
        "group rate",
        "x layer",
        "x growth",
        "= rate",
        "newborn",
    ]
    assert "0.05 to 0.2" in lines[1]
    assert "0.0025 to 0.01" in lines[1]
    assert "3 of 15" in lines[1]
    assert len(lines) == 5


def test_an_optimizer_takes_one_set_of_rules_at_a_time() -> None:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rules = UnifiedAdaptiveLearning(AgeBasedRates())
    rules.attach(optimizer, model)
    with pytest.raises(ValueError, match="has adaptive rates attached"):
        rules.attach(optimizer, model)


def test_lbfgs_is_refused() -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(TypeError, match="LBFGS steps along one direction"):
        UnifiedAdaptiveLearning(AgeBasedRates()).attach(
            torch.optim.LBFGS(model.parameters()), model
        )


def test_rules_are_instances_each_of_another_kind() -> None:
    with pytest.raises(ValueError, match="got none"):
        UnifiedAdaptiveLearning()
    with pytest.raises(ValueError, match="of another kind; got age, age"):
        UnifiedAdaptiveLearning(AgeBasedRates(), AgeBasedRates())
    with pytest.raises(TypeError, match="must be a RateRule"):
        UnifiedAdaptiveLearning(AgeBasedRates)  # type: ignore[arg-type] # the mistake
