"""Strategies: they read an analysis and say which edits they want."""

from structure_net.evolution.components.strategies.extrema import ExtremaGrowthStrategy
from structure_net.evolution.components.strategies.hybrid import HybridGrowthStrategy

__all__ = ["ExtremaGrowthStrategy", "HybridGrowthStrategy"]
