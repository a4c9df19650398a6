"""The parts that systems are made of, the systems themselves, and what they work on."""

from structure_net.evolution.components.analyzers import (
    ConnectionAnalyzer,
    GradientAnalyzer,
    GraphAnalyzer,
    HebbianAnalyzer,
    HomologicalAnalyzer,
    LayerPerformanceAnalyzer,
    NetworkStatsAnalyzer,
    SensitivityAnalyzer,
    SimpleInformationFlowAnalyzer,
    StandardExtremaAnalyzer,
    TopologicalAnalyzer,
)
from structure_net.evolution.components.presets import create_standard_evolution_system
from structure_net.evolution.components.strategies import (
    ExtremaGrowthStrategy,
    HybridGrowthStrategy,
    InformationFlowGrowthStrategy,
    ResidualBlockGrowthStrategy,
    RigL,
    SparseEvolutionaryTraining,
    SparseMomentum,
)
from structure_net.evolution.components.trainers import StandardNetworkTrainer
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.system import ComposableEvolutionSystem

__all__ = [
    "ComposableEvolutionSystem",
    "ConnectionAnalyzer",
    "ExtremaGrowthStrategy",
    "GradientAnalyzer",
    "GraphAnalyzer",
    "HebbianAnalyzer",
    "HomologicalAnalyzer",
    "HybridGrowthStrategy",
    "InformationFlowGrowthStrategy",
    "LayerPerformanceAnalyzer",
    "NetworkContext",
    "NetworkStatsAnalyzer",
    "ResidualBlockGrowthStrategy",
    "RigL",
    "SensitivityAnalyzer",
    "SimpleInformationFlowAnalyzer",
    "SparseEvolutionaryTraining",
    "SparseMomentum",
    "StandardExtremaAnalyzer",
    "StandardNetworkTrainer",
    "TopologicalAnalyzer",
    "create_standard_evolution_system",
]
