"""Gradients and sensitivity on a CUDA device say what they say on the CPU."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn

from structure_net.core.layers import StandardSparseLayer
from structure_net.evolution import ComposableEvolutionSystem, NetworkContext
from structure_net.evolution.components import GradientAnalyzer, SensitivityAnalyzer
from structure_net.evolution.metrics import Unavailable
from tests.elsewhere import away

pytestmark = pytest.mark.away

NUMBERS = (
    "gradient_norm",
    "gradient_variance",
    "gradient_cosine",
    "gradient_ranking",
    "sensitivity_ranking",
    "sensitivity_layer_ablation",
    "sensitivity_weight_noise",
)


def test_the_device_makes_no_difference_but_rounding() -> None:
    draw = torch.Generator().manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 3, 3),
        nn.ReLU(),
        nn.Flatten(),
        StandardSparseLayer(48, 8, density=0.3, generator=draw),
        nn.ReLU(),
        nn.Linear(8, 3),
    ).double()
    inputs = torch.randn(4, 8, 1, 6, 6, generator=draw, dtype=torch.float64)
    data = list(zip(inputs, inputs.flatten(2)[:, :, :3].argmax(2), strict=True))

    def found(device: str) -> Any:
        context = NetworkContext(deepcopy(network).to(device), data, device=device)
        analyzers = [GradientAnalyzer(), SensitivityAnalyzer()]
        return ComposableEvolutionSystem(analyzers).analyze(context)

    here, there = found("cpu"), found(away())
    for key in NUMBERS:
        expected = {n: one for n, one in here[key].items() if not isinstance(one, Unavailable)}
        assert there[key].keys() == here[key].keys()
        measured = {name: there[key][name] for name in expected}
        assert measured == pytest.approx(expected, rel=1e-6, abs=1e-9)
