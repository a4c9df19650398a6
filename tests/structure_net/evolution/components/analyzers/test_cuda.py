"""The analyzers of activations find on a CUDA device what they find on the CPU."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor

from structure_net.evolution import ComposableEvolutionSystem, NetworkContext
from structure_net.evolution.components import (
    HebbianAnalyzer,
    LayerPerformanceAnalyzer,
    SimpleInformationFlowAnalyzer,
)
from structure_net.evolution.metrics import OjaStatistics, Unavailable
from tests.elsewhere import away

pytestmark = pytest.mark.away

KEYS = (
    "information_effective_rank",
    "information_similarity",
    "information_entropy_bits",
    "information_ranking",
    "hebbian_correlation",
    "hebbian_reader_correlation",
    "hebbian_activity",
    "hebbian_importance",
    "hebbian_oja",
    "hebbian_ranking",
    "performance_gradient_variance",
    "performance_sensitivity",
    "performance_ranking",
)


def numbers(value: Any) -> list[float]:
    """All numbers in a report, in order."""
    if isinstance(value, Tensor):
        return [float(entry) for entry in value.flatten()]
    if isinstance(value, OjaStatistics):
        return numbers([value.variance, value.alignment, value.drift])
    if isinstance(value, Unavailable):
        return []
    if isinstance(value, dict):
        return numbers(list(value.values()))
    return [n for part in value for n in numbers(part)] if isinstance(value, list) else [value]


def test_what_is_found_is_what_the_cpu_finds(context: NetworkContext) -> None:
    batches = [(inputs.double(), targets) for inputs, targets in context.data_loader]
    here = replace(context, network=context.network.double(), data_loader=batches)
    there = replace(here.fork(), device=away())
    there = replace(there, network=there.network.to(away()))
    system = ComposableEvolutionSystem(
        [SimpleInformationFlowAnalyzer(), HebbianAnalyzer(), LayerPerformanceAnalyzer()]
    )
    expected, found = system.analyze(here), system.analyze(there)
    for key in KEYS:
        # Sums in another order, and a square root of a Gram matrix's rounding.
        assert numbers(found[key]) == pytest.approx(numbers(expected[key]), abs=1e-6, nan_ok=True)
