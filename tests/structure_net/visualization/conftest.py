"""One analysis by all analyzers, of a small network half of whose first layer is dead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from structure_net.evolution import ComposableEvolutionSystem, NetworkContext
from structure_net.evolution import components as parts
from structure_net.testing import example_context

ANALYZERS = (
    parts.NetworkStatsAnalyzer,
    parts.StandardExtremaAnalyzer,
    parts.SimpleInformationFlowAnalyzer,
    parts.GradientAnalyzer,
    parts.HebbianAnalyzer,
    parts.SensitivityAnalyzer,
    parts.GraphAnalyzer,
    parts.TopologicalAnalyzer,
    parts.HomologicalAnalyzer,
    parts.LayerPerformanceAnalyzer,
)


@pytest.fixture(scope="session")
def evolved() -> NetworkContext:
    """The small network after two iterations of growth and training."""
    system = parts.create_standard_evolution_system(epochs=1, patch_size=3)
    return replace(system.evolve_network(example_context(), 2), memory=None)


@pytest.fixture(scope="session")
def analysis(evolved: NetworkContext) -> Mapping[str, Any]:
    """All that is found of it; not to be changed."""
    found = ComposableEvolutionSystem([kind() for kind in ANALYZERS]).analyze(evolved)
    return {key: found[key] for key in found}
