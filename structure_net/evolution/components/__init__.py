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
    UtilityAnalyzer,
)
from structure_net.evolution.components.presets import create_standard_evolution_system
from structure_net.evolution.components.strategies import (
    ContinualBackprop,
    ExtremaGrowthStrategy,
    HybridGrowthStrategy,
    InformationFlowGrowthStrategy,
    PruningGrowthStrategy,
    ReDo,
    ResidualBlockGrowthStrategy,
    RigL,
    SparseEvolutionaryTraining,
    SparseMomentum,
)
from structure_net.evolution.components.trainers import (
    LotteryRewind,
    StandardNetworkTrainer,
)
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.system import ComposableEvolutionSystem

__all__ = [
    "ComposableEvolutionSystem",
    "ConnectionAnalyzer",
    "ContinualBackprop",
    "ExtremaGrowthStrategy",
    "GradientAnalyzer",
    "GraphAnalyzer",
    "HebbianAnalyzer",
    "HomologicalAnalyzer",
    "HybridGrowthStrategy",
    "InformationFlowGrowthStrategy",
    "LayerPerformanceAnalyzer",
    "LotteryRewind",
    "NetworkContext",
    "NetworkStatsAnalyzer",
    "PruningGrowthStrategy",
    "ReDo",
    "ResidualBlockGrowthStrategy",
    "RigL",
    "SensitivityAnalyzer",
    "SimpleInformationFlowAnalyzer",
    "SparseEvolutionaryTraining",
    "SparseMomentum",
    "StandardExtremaAnalyzer",
    "StandardNetworkTrainer",
    "TopologicalAnalyzer",
    "UtilityAnalyzer",
    "create_standard_evolution_system",
]
