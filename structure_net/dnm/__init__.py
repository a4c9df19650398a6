"""Dynamic neural morphogenesis: neuron division and connection growth in a loop of one's own."""

from structure_net.dnm.caches import LayerCaches, collect_caches, layer_caches
from structure_net.dnm.configuration import DNMConfiguration
from structure_net.dnm.connections import ConnectionGrowthManager
from structure_net.dnm.division import AdaptiveNeuronDivision
from structure_net.dnm.events import MorphogenesisEvent
from structure_net.dnm.framework import DNMFramework
from structure_net.dnm.measuring import cached_analysis
from structure_net.dnm.net2net import DNMNet2Net
from structure_net.evolution.components import LayerPerformanceAnalyzer

__all__ = [
    "AdaptiveNeuronDivision",
    "ConnectionGrowthManager",
    "DNMConfiguration",
    "DNMFramework",
    "DNMNet2Net",
    "LayerCaches",
    "LayerPerformanceAnalyzer",
    "MorphogenesisEvent",
    "cached_analysis",
    "collect_caches",
    "layer_caches",
]
