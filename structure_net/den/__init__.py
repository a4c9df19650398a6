"""Networks that are widened and deepened by number, the DEN library's way, on the same engine."""

from structure_net.den.core import DynamicExpandableNetwork
from structure_net.den.evolving import DENEvolution, DENSignalsAnalyzer
from structure_net.den.growth_strategy import (
    AdaptiveGrowth,
    BiologicalGrowth,
    GradientBasedGrowth,
    GrowthStrategy,
    LossBasedGrowth,
)
from structure_net.den.layers import ExpandableLinear
from structure_net.den.trainer import DENTrainer

__all__ = [
    "AdaptiveGrowth",
    "BiologicalGrowth",
    "DENEvolution",
    "DENSignalsAnalyzer",
    "DENTrainer",
    "DynamicExpandableNetwork",
    "ExpandableLinear",
    "GradientBasedGrowth",
    "GrowthStrategy",
    "LossBasedGrowth",
]
