"""Basic statistics of a network: connections, parameters, density."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from structure_net.core.statistics import LayerStats, network_stats
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.interfaces import Analyzer


class StatsAnalysis(TypedDict):
    """What `NetworkStatsAnalyzer` reports.

    ``network_connections``: live weights. ``network_parameters``: these and all other parameters.
    ``network_density``: connections over all that the layers' shapes allow. ``network_depth``:
    layers with weights. ``network_layers``: the table of the layers by name.
    """

    network_connections: int
    network_parameters: int
    network_density: float
    network_depth: int
    network_layers: Mapping[str, LayerStats]


class NetworkStatsAnalyzer(Analyzer):
    """Counts what a network consists of; looks at no data."""

    def analyze(self, context: NetworkContext) -> StatsAnalysis:
        """See `StatsAnalysis`."""
        stats = network_stats(context.network)
        return {
            "network_connections": stats["total_connections"],
            "network_parameters": stats["total_parameters"],
            "network_density": stats["density"],
            "network_depth": len(stats["layers"]),
            "network_layers": {layer["name"]: layer for layer in stats["layers"]},
        }
