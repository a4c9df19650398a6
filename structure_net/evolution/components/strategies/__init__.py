"""Strategies: they read an analysis and say which edits they want."""

from structure_net.evolution.components.strategies.dynamic_sparse import (
    DynamicSparseTraining,
    RigL,
    SparseEvolutionaryTraining,
    SparseMomentum,
)
from structure_net.evolution.components.strategies.extrema import ExtremaGrowthStrategy
from structure_net.evolution.components.strategies.hybrid import HybridGrowthStrategy
from structure_net.evolution.components.strategies.information_flow import (
    InformationFlowGrowthStrategy,
)
from structure_net.evolution.components.strategies.pruning import (
    PruningGrowthStrategy,
)
from structure_net.evolution.components.strategies.recycling import (
    ContinualBackprop,
    ReDo,
)
from structure_net.evolution.components.strategies.residual import ResidualBlockGrowthStrategy

__all__ = [
    "ContinualBackprop",
    "DynamicSparseTraining",
    "ExtremaGrowthStrategy",
    "HybridGrowthStrategy",
    "InformationFlowGrowthStrategy",
    "PruningGrowthStrategy",
    "ReDo",
    "ResidualBlockGrowthStrategy",
    "RigL",
    "SparseEvolutionaryTraining",
    "SparseMomentum",
]
