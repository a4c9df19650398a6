"""Analyzers: they look at a network and change nothing."""

from structure_net.evolution.components.analyzers.extrema import (
    ExtremaAnalysis,
    StandardExtremaAnalyzer,
)
from structure_net.evolution.components.analyzers.statistics import (
    NetworkStatsAnalyzer,
    StatsAnalysis,
)

__all__ = ["ExtremaAnalysis", "NetworkStatsAnalyzer", "StandardExtremaAnalyzer", "StatsAnalysis"]
