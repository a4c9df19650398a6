"""Pictures of networks that change."""

from structure_net.visualization.evolution import (
    EvolutionCurve,
    EvolutionPoint,
    GrowthMark,
    Reference,
    plot_evolution,
)

__all__ = ["EvolutionCurve", "EvolutionPoint", "GrowthMark", "Reference", "plot_evolution"]
