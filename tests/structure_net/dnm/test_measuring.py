from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from structure_net.dnm import LayerCaches, cached_analysis, collect_caches, layer_caches
from structure_net.errors import MissingAnalysisError
from structure_net.evolution import ComposableEvolutionSystem, NetworkContext
from structure_net.evolution.components import LayerPerformanceAnalyzer
from structure_net.evolution.metrics.performance import PERFORMANCE_MEASURES

ALL = PERFORMANCE_MEASURES


def network() -> tuple[nn.Sequential, torch.Tensor, torch.Tensor]:
    """A net with a bottleneck of two units, in float64, and a batch."""
    generator = torch.Generator().manual_seed(0)
    layers = [nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 2), nn.ReLU(), nn.Linear(2, 12)]
    model = nn.Sequential(*layers, nn.ReLU(), nn.Linear(12, 3)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    inputs = torch.randn(64, 8, dtype=torch.float64, generator=generator)
    return model, inputs, inputs[:, :3].argmax(1)


def context(model: nn.Module, inputs: torch.Tensor) -> NetworkContext:
    return NetworkContext(model, (), example=inputs[:2])


def cached() -> tuple[NetworkContext, LayerCaches]:
    model, inputs, targets = network()
    found = collect_caches(model, inputs, targets)
    return context(model, inputs), layer_caches(model, *found, targets, inputs=inputs)


def test_the_scores_of_the_units_are_their_moments() -> None:
    model, inputs, targets = network()
    activations, gradients = collect_caches(model, inputs, targets)
    found = cached_analysis(*cached(), ALL)
    torch.testing.assert_close(
        found["split_activation_scores"]["0"], activations["0"].var(0, correction=0)
    )
    torch.testing.assert_close(found["split_gradient_scores"]["0"], gradients["0"].square().mean(0))
    assert list(found["split_activation_scores"]) == ["0", "2", "4"]


def test_the_outputs_are_not_ranked() -> None:
    found = cached_analysis(*cached(), ALL)
    assert set(found["performance_ranking"]) == {"0", "2", "4"}
    values = list(found["performance_ranking"].values())
    assert values == sorted(values, reverse=True)
    assert all(0 <= value <= 1 for value in values)


def test_the_sensitivity_is_that_of_the_analyzer() -> None:
    model, inputs, targets = network()
    linear = nn.Sequential(*(layer for layer in model if not isinstance(layer, nn.ReLU)))
    caches = layer_caches(linear, *collect_caches(linear, inputs, targets), targets)
    found = cached_analysis(context(linear, inputs), caches, ALL)["performance_sensitivity"]
    whole = replace(context(linear, inputs), data_loader=[(inputs, targets)])
    seen = ComposableEvolutionSystem([LayerPerformanceAnalyzer()]).analyze(whole)
    for layer, value in found.items():
        # one run in batches of another size: equal to rounding
        assert value == pytest.approx(seen["performance_sensitivity"][layer], rel=1e-8)


def test_only_the_measures_that_were_asked_for_count() -> None:
    found = cached_analysis(*cached(), ("gradient_variance",))
    assert found["performance_measures"] == ("gradient_variance",)
    assert "performance_sensitivity" not in found
    ranked = found["performance_gradient_variance"]
    assert next(iter(found["performance_ranking"])) == max("024", key=lambda name: ranked[name])


def test_gradients_of_the_weights_stand_in_for_those_of_the_activations() -> None:
    where, caches = cached()
    weights = {
        name: torch.arange(1.0, 1 + module.weight.numel(), dtype=torch.float64).view_as(
            module.weight
        )
        for name, module in where.network.named_children()
        if isinstance(module, nn.Linear)
    }
    found = cached_analysis(where, replace(caches, gradients={}, weight_gradients=weights), ALL)
    assert found["performance_measures"] == (
        "gradient_variance",
        "activation_diversity",
        "information_flow",
    )
    torch.testing.assert_close(found["split_gradient_scores"]["2"], weights["2"].square().mean(1))
    of_rows = weights["2"].var(1, correction=0).mean()
    assert found["performance_gradient_variance"]["2"] == pytest.approx(float(of_rows))


def test_without_gradients_and_targets_only_the_diversity_counts() -> None:
    where, caches = cached()
    bare = replace(caches, gradients={}, targets=None)
    found = cached_analysis(where, bare, ALL)
    assert found["performance_measures"] == ("activation_diversity",)
    assert found["split_gradient_scores"] == {}


def test_measures_that_cannot_be_taken_are_an_error_that_says_why() -> None:
    where, caches = cached()
    bare = replace(caches, gradients={})
    with pytest.raises(
        MissingAnalysisError, match=r"gradient_variance of '0': no gradient.*collect"
    ):
        cached_analysis(where, bare, ("gradient_variance",))


def test_caches_without_a_layer_that_can_change_are_an_error() -> None:
    where, caches = cached()
    last = replace(caches, activations={"6": caches.activations["6"]})
    with pytest.raises(
        MissingAnalysisError, match=r"no layer that can change \(there are: 0, 2, 4"
    ):
        cached_analysis(where, last, ALL)
