from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.evolution import ComposableEvolutionSystem, NetworkContext
from structure_net.evolution.components import LayerPerformanceAnalyzer
from structure_net.evolution.metrics import (
    PERFORMANCE_MEASURES,
    Unavailable,
    bottleneck_scores,
    check_measures,
    measure_layers,
)

KEYS = {
    "gradient_variance": "performance_gradient_variance",
    "activation_diversity": "performance_activation_diversity",
    "information_flow": "performance_information_flow",
    "performance_sensitivity": "performance_sensitivity",
}


def made() -> tuple[nn.Sequential, Tensor, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(8, 10), nn.Tanh(), nn.Linear(10, 4), nn.ReLU())
        network.append(nn.Linear(4, 2))
        inputs = torch.randn(120, 8)
    return network.double(), inputs.double(), (inputs[:, 0] > 0).long()


def analyzed(network: nn.Module, inputs: Tensor, targets: Tensor, **options: Any) -> Any:
    context = NetworkContext(network, [(inputs, targets)])
    return ComposableEvolutionSystem([LayerPerformanceAnalyzer(**options)]).analyze(context)


def caches(
    network: nn.Sequential, inputs: Tensor, targets: Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    first = network[:2](inputs)
    second = network[2:4](first)
    activations = {"0": first, "2": second}
    loss = F.cross_entropy(network[4](second), targets)
    gradients = torch.autograd.grad(loss, list(activations.values()))
    return activations, dict(zip(activations, gradients, strict=True))


def test_the_observed_measures_are_those_of_caches() -> None:
    network, inputs, targets = made()
    found = analyzed(network, inputs, targets)
    expected = measure_layers(*caches(network, inputs, targets), targets, inputs=inputs)
    for measure, key in KEYS.items():
        for layer in ("0", "2"):
            value = float(expected[measure][layer])
            # The order of the samples, and so the folds of the probe, are others.
            tolerance = 0.1 if measure == "information_flow" else 1e-9
            assert found[key][layer] == pytest.approx(value, abs=tolerance, rel=1e-6)


def test_the_hybrid_score_ranks_the_hidden_layers() -> None:
    found = analyzed(*made())
    assert found["performance_measures"] == PERFORMANCE_MEASURES
    measured = {m: {n: found[key][n] for n in ("0", "2")} for m, key in KEYS.items()}
    assert found["performance_bottleneck"] == bottleneck_scores(measured)
    assert found["performance_ranking"] == found["performance_bottleneck"]
    assert set(found["performance_ranking"]) == {"0", "2"}


def test_only_the_configured_measures_count() -> None:
    found = analyzed(*made(), measures=["activation_diversity"])
    assert found["performance_measures"] == ("activation_diversity",)
    ranks = found["performance_activation_diversity"]
    assert list(found["performance_ranking"]) == sorted(("0", "2"), key=lambda n: ranks[n])
    for check in (check_measures, lambda names: LayerPerformanceAnalyzer(measures=names)):
        with pytest.raises(ValueError, match="entropy"):
            check(["entropy"])


def test_a_measure_that_is_not_there_does_not_count() -> None:
    network, inputs, _ = made()
    targets = torch.zeros(120, 2, dtype=torch.float64)
    context = NetworkContext(network, [(inputs, targets)], loss=F.mse_loss)
    found = ComposableEvolutionSystem([LayerPerformanceAnalyzer()]).analyze(context)
    assert isinstance(found["performance_information_flow"]["0"], Unavailable)
    assert "information_flow" not in found["performance_measures"]
    assert len(found["performance_measures"]) == 3
    alone = ComposableEvolutionSystem([LayerPerformanceAnalyzer(measures=["information_flow"])])
    nothing = alone.analyze(context)
    assert isinstance(nothing["performance_bottleneck"], Unavailable)
    assert nothing["performance_ranking"] == {}


def test_a_layer_that_no_gradient_reaches_says_so() -> None:
    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.aside, self.head = nn.Linear(8, 3), nn.Linear(11, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            outputs: Tensor = self.head(torch.cat([inputs, self.aside(inputs).detach()], 1))
            return outputs

    _, inputs, targets = made()
    found = analyzed(Detached().double(), inputs, targets)
    variance = found["performance_gradient_variance"]["aside"]
    assert isinstance(variance, Unavailable) or variance == 0.0
    assert float(found["performance_gradient_variance"]["head"]) > 0


def test_convolutions_and_tokens_are_measured_too() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    inputs = torch.randn(60, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    found = analyzed(network, inputs, torch.arange(60) % 2)
    assert all(float(found[key]["0"]) >= 0 for key in KEYS.values())
    tokens = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Flatten(), nn.Linear(30, 2))
    found = analyzed(tokens, inputs, torch.arange(60) % 2)
    assert all(float(found[key]["0"]) >= 0 for key in KEYS.values())
