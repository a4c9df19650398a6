"""Analyzers: they look at a network and change nothing."""

from structure_net.evolution.components.analyzers.extrema import (
    ExtremaAnalysis,
    StandardExtremaAnalyzer,
)
from structure_net.evolution.components.analyzers.graph import GraphAnalysis, GraphAnalyzer
from structure_net.evolution.components.analyzers.hebbian import HebbianAnalysis, HebbianAnalyzer
from structure_net.evolution.components.analyzers.information import (
    InformationAnalysis,
    SimpleInformationFlowAnalyzer,
)
from structure_net.evolution.components.analyzers.performance import (
    LayerPerformanceAnalyzer,
    PerformanceAnalysis,
)
from structure_net.evolution.components.analyzers.statistics import (
    NetworkStatsAnalyzer,
    StatsAnalysis,
)

__all__ = [
    "ExtremaAnalysis",
    "GraphAnalysis",
    "GraphAnalyzer",
    "HebbianAnalysis",
    "HebbianAnalyzer",
    "InformationAnalysis",
    "LayerPerformanceAnalyzer",
    "NetworkStatsAnalyzer",
    "PerformanceAnalysis",
    "SimpleInformationFlowAnalyzer",
    "StandardExtremaAnalyzer",
    "StatsAnalysis",
]
