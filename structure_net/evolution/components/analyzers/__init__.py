"""Analyzers: they look at a network and change nothing."""

from structure_net.evolution.components.analyzers.connections import (
    CandidateAnalysis,
    ConnectionAnalysis,
    ConnectionAnalyzer,
    ConnectionCandidateAnalyzer,
)
from structure_net.evolution.components.analyzers.extrema import (
    ExtremaAnalysis,
    StandardExtremaAnalyzer,
)
from structure_net.evolution.components.analyzers.gradients import (
    GradientAnalysis,
    GradientAnalyzer,
)
from structure_net.evolution.components.analyzers.graph import GraphAnalysis, GraphAnalyzer
from structure_net.evolution.components.analyzers.hebbian import HebbianAnalysis, HebbianAnalyzer
from structure_net.evolution.components.analyzers.homology import (
    ChainBarcode,
    HomologicalAnalyzer,
    HomologyAnalysis,
    LayerDirections,
)
from structure_net.evolution.components.analyzers.information import (
    InformationAnalysis,
    SimpleInformationFlowAnalyzer,
)
from structure_net.evolution.components.analyzers.performance import (
    LayerPerformanceAnalyzer,
    PerformanceAnalysis,
)
from structure_net.evolution.components.analyzers.sensitivity import (
    SensitivityAnalysis,
    SensitivityAnalyzer,
)
from structure_net.evolution.components.analyzers.shortcuts import (
    ShortcutAnalysis,
    ShortcutAnalyzer,
)
from structure_net.evolution.components.analyzers.splits import SplitAnalysis, SplitAnalyzer
from structure_net.evolution.components.analyzers.statistics import (
    NetworkStatsAnalyzer,
    StatsAnalysis,
    WeightSpectrum,
)
from structure_net.evolution.components.analyzers.topology import (
    BettiCurve,
    DiagramShift,
    TopologicalAnalyzer,
    TopologyAnalysis,
)
from structure_net.evolution.components.analyzers.utility import (
    UtilityAnalysis,
    UtilityAnalyzer,
)

__all__ = [
    "BettiCurve",
    "CandidateAnalysis",
    "ChainBarcode",
    "ConnectionAnalysis",
    "ConnectionAnalyzer",
    "ConnectionCandidateAnalyzer",
    "DiagramShift",
    "ExtremaAnalysis",
    "GradientAnalysis",
    "GradientAnalyzer",
    "GraphAnalysis",
    "GraphAnalyzer",
    "HebbianAnalysis",
    "HebbianAnalyzer",
    "HomologicalAnalyzer",
    "HomologyAnalysis",
    "InformationAnalysis",
    "LayerDirections",
    "LayerPerformanceAnalyzer",
    "NetworkStatsAnalyzer",
    "PerformanceAnalysis",
    "SensitivityAnalysis",
    "SensitivityAnalyzer",
    "ShortcutAnalysis",
    "ShortcutAnalyzer",
    "SimpleInformationFlowAnalyzer",
    "SplitAnalysis",
    "SplitAnalyzer",
    "StandardExtremaAnalyzer",
    "StatsAnalysis",
    "TopologicalAnalyzer",
    "TopologyAnalysis",
    "UtilityAnalysis",
    "UtilityAnalyzer",
    "WeightSpectrum",
]
