"""Strategies: they read an analysis and say which edits they want."""

from structure_net.evolution.components.strategies.depth import DepthGrowthStrategy
from structure_net.evolution.components.strategies.dynamic_sparse import (
    DynamicSparseTraining,
    RigL,
    SparseEvolutionaryTraining,
    SparseMomentum,
)
from structure_net.evolution.components.strategies.extrema import ExtremaGrowthStrategy
from structure_net.evolution.components.strategies.fading import FadeInStrategy, due_shares
from structure_net.evolution.components.strategies.hebbian import HebbianGrowthStrategy
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
from structure_net.evolution.components.strategies.skip import SkipConnectionGrowthStrategy
from structure_net.evolution.components.strategies.split import NeuronSplitStrategy
from structure_net.evolution.components.strategies.width import WidthGrowthStrategy

__all__ = [
    "ContinualBackprop",
    "DepthGrowthStrategy",
    "DynamicSparseTraining",
    "ExtremaGrowthStrategy",
    "FadeInStrategy",
    "HebbianGrowthStrategy",
    "HybridGrowthStrategy",
    "InformationFlowGrowthStrategy",
    "NeuronSplitStrategy",
    "PruningGrowthStrategy",
    "ReDo",
    "ResidualBlockGrowthStrategy",
    "RigL",
    "SkipConnectionGrowthStrategy",
    "SparseEvolutionaryTraining",
    "SparseMomentum",
    "WidthGrowthStrategy",
    "due_shares",
]
