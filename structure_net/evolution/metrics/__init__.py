"""Measures of what networks do: pure functions on tensors."""

from structure_net.core.extrema import dead_units, overactive_units, saturated_units
from structure_net.evolution.metrics.persistence import (
    NeuralPersistence,
    NullComparison,
    deep_graph_persistence,
    largest_magnitude,
    neural_persistence,
    shuffled_persistence,
    summarised_weights,
)
from structure_net.evolution.metrics.validity import Unavailable

__all__ = [
    "NeuralPersistence",
    "NullComparison",
    "Unavailable",
    "dead_units",
    "deep_graph_persistence",
    "largest_magnitude",
    "neural_persistence",
    "overactive_units",
    "saturated_units",
    "shuffled_persistence",
    "summarised_weights",
]
