"""Learning rates that follow what happens to a network: plateaus, depth, growth and age."""

from structure_net.evolution.adaptive_learning_rates.aging import AgeBasedRates
from structure_net.evolution.adaptive_learning_rates.attached import AttachedRates, Rate
from structure_net.evolution.adaptive_learning_rates.backoff import ExponentialBackoffScheduler
from structure_net.evolution.adaptive_learning_rates.growth_phase import GrowthPhaseScheduler
from structure_net.evolution.adaptive_learning_rates.layerwise import LayerwiseAdaptiveRates
from structure_net.evolution.adaptive_learning_rates.rules import Place, RateRule
from structure_net.evolution.adaptive_learning_rates.unified import UnifiedAdaptiveLearning

__all__ = [
    "AgeBasedRates",
    "AttachedRates",
    "ExponentialBackoffScheduler",
    "GrowthPhaseScheduler",
    "LayerwiseAdaptiveRates",
    "Place",
    "Rate",
    "RateRule",
    "UnifiedAdaptiveLearning",
]
