from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.evolution.metrics import (
    PERFORMANCE_MEASURES,
    Unavailable,
    activation_diversity,
    bottleneck_scores,
    counted_measures,
    effective_rank,
    gradient_variance,
    information_flow,
    label_information,
    measure_layers,
    performance_sensitivity,
    spectrum,
    task_rank,
)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def caches(samples: int = 64) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """Activations and gradients of a small convolutional net, as a loop of one's own has them."""
    generator = torch.Generator().manual_seed(0)
    layers = [nn.Conv2d(1, 3, 3), nn.Conv2d(3, 4, 3), nn.Linear(64, 2)]
    with torch.no_grad():
        for layer in layers:
            for parameter in layer.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 3)
    inputs = torch.randn(samples, 1, 8, 8, generator=generator)
    targets = (inputs.mean((1, 2, 3)) > 0).long()
    first = layers[0](inputs).relu()
    second = layers[1](first).relu()
    output = layers[2](second.flatten(1))
    activations = {"0": first, "1": second, "2": output}
    found = torch.autograd.grad(F.cross_entropy(output, targets), list(activations.values()))
    return activations, dict(zip(activations, found, strict=True)), targets


def test_gradient_variance_is_the_mean_of_the_units_variances() -> None:
    gradients = drawn(20, 3, 4)
    by_unit = [gradients[:, unit].numpy().var() for unit in range(3)]
    assert gradient_variance(gradients) == pytest.approx(sum(by_unit) / 3, abs=1e-12)
    tokens = gradients.movedim(1, -1)
    assert gradient_variance(tokens, axis=-1) == pytest.approx(sum(by_unit) / 3, abs=1e-12)


def test_diversity_is_the_effective_rank_relative_to_the_neighbours() -> None:
    activations = drawn(50, 6) + 5
    rank = float(effective_rank(spectrum(activations)))
    found = activation_diversity(activations, before=9.0, behind=4.0)
    assert found == pytest.approx(rank / 6, abs=1e-12)
    assert activation_diversity(torch.ones(50, 6), before=9.0, behind=4.0) == pytest.approx(1 / 6)


def test_the_neighbours_in_caches_are_the_layers_the_inputs_and_the_task() -> None:
    a, b, inputs, targets = (
        drawn(60, 8),
        drawn(60, 3, seed=1),
        drawn(60, 9, seed=2),
        torch.arange(60) % 5,
    )
    ranks = [float(effective_rank(spectrum(cloud))) for cloud in (inputs, a, b)]
    asked = float(task_rank(targets))
    assert asked == pytest.approx(4.0, abs=1e-6)

    def diversity(**options: Any) -> dict[str, float | Unavailable]:
        measures = ["activation_diversity"]
        return measure_layers({"a": a, "b": b}, {}, measures=measures, **options)[measures[0]]

    assert diversity(inputs=inputs, targets=targets) == {
        "a": pytest.approx(ranks[1] / (ranks[0] * ranks[2]) ** 0.5),
        "b": pytest.approx(ranks[2] / (ranks[1] * asked) ** 0.5),
    }
    assert diversity() == {
        "a": pytest.approx(ranks[1] / ranks[2]),
        "b": pytest.approx(ranks[2] / ranks[1]),
    }
    alone = measure_layers({"a": a}, {}, measures=["activation_diversity"])
    assert isinstance(alone["activation_diversity"]["a"], Unavailable)


def test_information_flow_is_the_label_information() -> None:
    activations, targets = drawn(60, 3), torch.arange(60) % 2
    whole = label_information(activations, targets)
    assert not isinstance(whole, Unavailable)
    assert information_flow(activations, targets) == whole.bits
    assert isinstance(information_flow(activations, drawn(60)), Unavailable)


def test_sensitivity_is_the_deviation_of_the_loss_under_noise_on_each_unit() -> None:
    """A loss that is linear in the activations moves by exactly what first order says."""
    activations, slopes = drawn(8, 5), drawn(8, 5, seed=1)
    sensitivity = performance_sensitivity(activations, slopes, mean_loss=False)
    noise = 1 + 0.01 * drawn(20_000, 5, seed=2)
    change = ((noise.unsqueeze(1) - 1) * activations * slopes).sum(2)
    measured = float(change.square().mean().sqrt()) / 0.01
    # 20000 draws leave an error of 1 / sqrt(40000).
    assert sensitivity == pytest.approx(measured, rel=0.02)
    assert performance_sensitivity(activations, slopes / 8) == pytest.approx(sensitivity, abs=1e-12)


def test_sensitivity_sums_over_the_positions_of_a_unit() -> None:
    activations, gradients = torch.ones(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
    found = performance_sensitivity(activations, gradients, mean_loss=False)
    assert found == pytest.approx(16 * math.sqrt(3))
    with pytest.raises(ValueError, match="shapes"):
        performance_sensitivity(activations, gradients[:, :2])


def test_all_measures_come_from_caches() -> None:
    activations, gradients, targets = caches()
    found = measure_layers(activations, gradients, targets)
    assert tuple(found) == PERFORMANCE_MEASURES
    for by_layer in found.values():
        assert list(by_layer) == ["0", "1", "2"]
        assert all(math.isfinite(float(value)) for value in by_layer.values())
    scores = bottleneck_scores(found)
    assert not isinstance(scores, Unavailable)
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    assert all(0 <= score <= 1 for score in scores.values())


def test_the_measures_of_a_configuration_are_the_ones_that_count() -> None:
    activations, gradients, targets = caches()
    found = measure_layers(activations, gradients, targets, measures=["activation_diversity"])
    ranks = {layer: float(value) for layer, value in found["activation_diversity"].items()}
    scores = bottleneck_scores(found)
    assert not isinstance(scores, Unavailable)
    assert list(scores) == sorted(ranks, key=lambda layer: ranks[layer])
    assert next(iter(scores.values())) == 1.0
    with pytest.raises(ValueError, match="information_flow"):
        measure_layers(activations, gradients, measures=["entropy"])


def test_what_was_not_given_is_a_reason() -> None:
    activations, gradients, _ = caches()
    found = measure_layers(activations, {"0": gradients["0"]})
    assert isinstance(found["information_flow"]["0"], Unavailable)
    assert isinstance(found["gradient_variance"]["1"], Unavailable)
    assert counted_measures(found) == ("activation_diversity",)
    nothing = measure_layers(activations, {}, measures=["gradient_variance"])
    assert isinstance(bottleneck_scores(nothing), Unavailable)


def test_gradients_of_weights_give_their_variance_over_a_units_weights() -> None:
    activations, _, targets = caches()
    weights = {"0": drawn(3, 9), "1": drawn(4, 27), "2": drawn(2, 64)}
    found = measure_layers(activations, weights, targets)
    by_unit = weights["0"].var(1, correction=0).mean()
    assert found["gradient_variance"]["0"] == pytest.approx(float(by_unit))
    assert isinstance(found["performance_sensitivity"]["0"], Unavailable)


def test_the_hybrid_score_is_the_mean_of_scaled_measures() -> None:
    measured: dict[str, dict[str, float | Unavailable]] = {
        "gradient_variance": {"a": 1.0, "b": 3.0, "c": 2.0},
        "activation_diversity": {"a": 10.0, "b": 2.0, "c": 10.0},
        "information_flow": {"a": 1.0, "b": 1.0, "c": 1.0},
        "performance_sensitivity": {"a": 1.0, "b": 2.0, "c": Unavailable("no gradient")},
    }
    # The third does not differ and the fourth is not there for all.
    assert counted_measures(measured) == ("gradient_variance", "activation_diversity")
    assert bottleneck_scores(measured) == {"b": 1.0, "c": 0.25, "a": 0.0}


def test_a_single_layer_and_layers_that_agree_score_one_half() -> None:
    alone: dict[str, dict[str, float | Unavailable]] = {
        "gradient_variance": {"a": 3.0},
        "information_flow": {"a": Unavailable("none")},
    }
    assert bottleneck_scores(alone) == {"a": 0.5}
    assert counted_measures(alone) == ()
    assert bottleneck_scores({"gradient_variance": {"a": 3.0, "b": 3.0}}) == {"a": 0.5, "b": 0.5}
    assert isinstance(bottleneck_scores({}), Unavailable)
