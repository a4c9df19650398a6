"""Systems that are ready to use."""

from __future__ import annotations

from structure_net.evolution.components.analyzers import (
    NetworkStatsAnalyzer,
    StandardExtremaAnalyzer,
)
from structure_net.evolution.components.strategies import ExtremaGrowthStrategy
from structure_net.evolution.components.trainers import StandardNetworkTrainer
from structure_net.evolution.system import ComposableEvolutionSystem


def create_standard_evolution_system(
    epochs: int = 5,
    learning_rate: float | None = None,
    *,
    patch_size: int = 20,
    add_layer_on_extrema: bool = False,
) -> ComposableEvolutionSystem:
    """A system that grows connections at dead and saturated units, and trains with Adam.

    Args:
        epochs: Epochs per iteration.
        learning_rate: See `StandardNetworkTrainer`.
        patch_size: Connections per dead or saturated unit.
        add_layer_on_extrema: See `ExtremaGrowthStrategy`.
    """
    growth = ExtremaGrowthStrategy(patch_size=patch_size, add_layer_on_extrema=add_layer_on_extrema)
    trainer = StandardNetworkTrainer(epochs, learning_rate)
    components = (NetworkStatsAnalyzer(), StandardExtremaAnalyzer(), growth, trainer)
    return ComposableEvolutionSystem(components)
