from __future__ import annotations

import pytest
import torch

from neural_architecture_lab.errors import HypothesisError
from neural_architecture_lab.experiments import available_hypotheses, default_of, ready_hypothesis
from neural_architecture_lab.experiments.evolving import evolve, settings_of, started
from neural_architecture_lab.hypothesis import HypothesisCategory
from neural_architecture_lab.trials import Trial
from structure_net.core import network_stats

EVOLVING = tuple(
    name for name in available_hypotheses() if ready_hypothesis(name).experiment is evolve
)
BORN_WITH = ("hidden", "shortcuts", "density", "allocation", "activation", "dataset")

EQUAL = ("deep_against_wide", "pyramid_shapes", "skip_connections", "static_against_dynamic")
"""Hypotheses whose arms have as many parameters at birth, within a hundredth."""

OF_CATEGORY = {
    "architecture": "deep_against_wide",
    "training": "batch_size_scaling",
    "growth_dynamics": "extrema_growth",
    "sparsity": "static_against_dynamic",
    "optimization": "learning_rate_after_growth",
    "regularization": "weight_decay",
    "information": "information_bottlenecks",
    "topology": "connection_allocation",
}


def trials_of(name: str, **settings: int) -> list[Trial]:
    arms = ready_hypothesis(name).arms
    return [Trial(name, arm.name, 1, {**arm.settings, **settings}) for arm in arms]


@pytest.mark.parametrize("category", HypothesisCategory)
def test_every_category_supplies_a_hypothesis_of_its_own(category: HypothesisCategory) -> None:
    assert default_of(category) == ready_hypothesis(OF_CATEGORY[category])
    assert default_of(category).category is category


@pytest.mark.parametrize("name", EVOLVING)
def test_every_arm_runs_and_measures_what_is_predicted(name: str) -> None:
    predicted = {prediction.metric for prediction in ready_hypothesis(name).predictions}
    for trial in trials_of(name, iterations=1, epochs=1):
        found = evolve(trial, device="cpu")
        assert predicted <= set(found.metrics), trial.arm
        assert len(found.curves["train_loss"]) == 1


@pytest.mark.parametrize("name", EVOLVING)
def test_arms_of_equal_architecture_share_weights(name: str) -> None:
    born: dict[str, torch.nn.Module] = {}
    for trial in trials_of(name):
        settings = settings_of(trial)
        network = started(trial, settings, "cpu").network
        twin = born.setdefault(str([settings[key] for key in BORN_WITH]), network)
        for a, b in zip(network.parameters(), twin.parameters(), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("name", EQUAL)
def test_arms_that_are_called_equal_have_as_many_parameters(name: str) -> None:
    sizes = [
        network_stats(started(trial, settings_of(trial), "cpu").network)["total_parameters"]
        for trial in trials_of(name)
    ]
    assert max(sizes) <= 1.01 * min(sizes)


def test_the_grown_network_ends_with_the_size_of_the_fixed_one() -> None:
    fixed, grown = (evolve(trial, device="cpu") for trial in trials_of("grown_against_fixed"))
    assert len(grown.events) == 4
    for size in ("parameters", "connections", "flops", "layers"):
        assert grown.metrics[size] == fixed.metrics[size]


@pytest.mark.parametrize(
    ("name", "growths"),
    [
        ("growth_timing", {"early": 1, "late": 1}),
        ("growth_location", {"extrema": 4, "gain": 4}),
        ("newborn_initialisation", {"zero": 3, "gradmax": 3}),
        ("information_bottlenecks", {"extrema": 2, "information": 2}),
        ("learning_rate_after_growth", {"even": 3, "young": 3, "scaffold": 3}),
    ],
)
def test_arms_grow_as_often_as_is_said(name: str, growths: dict[str, int]) -> None:
    for trial in trials_of(name):
        if trial.arm in growths:
            assert len(evolve(trial, device="cpu").events) == growths[trial.arm], trial.arm


def test_weight_decay_with_another_optimizer_than_adamw_is_refused() -> None:
    with pytest.raises(HypothesisError, match=r"weight_decay is 0\.1 and optimizer is 'adam'"):
        evolve(Trial("h", "a", 0, {"weight_decay": 0.1}), device="cpu")


def test_a_rule_for_rates_that_there_is_not_is_refused() -> None:
    with pytest.raises(HypothesisError, match="needs a kind, such as 'AgeBasedRates'"):
        evolve(Trial("h", "a", 0, {"rates": [{"kind": "Rate"}]}), device="cpu")
