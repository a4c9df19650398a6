"""When and how a network grows: the interface, for strategies of one's own, and four of ours."""

from structure_net.den.growth_strategy.adaptive import AdaptiveGrowth
from structure_net.den.growth_strategy.biological import BiologicalGrowth
from structure_net.den.growth_strategy.gradient import GradientBasedGrowth
from structure_net.den.growth_strategy.interface import GrowthStrategy
from structure_net.den.growth_strategy.loss import LossBasedGrowth

__all__ = [
    "AdaptiveGrowth",
    "BiologicalGrowth",
    "GradientBasedGrowth",
    "GrowthStrategy",
    "LossBasedGrowth",
]
