"""Pictures of networks that change."""

from structure_net.visualization.clouds import (
    plot_betti_curves,
    plot_persistence_barcode,
    plot_persistence_diagram,
)
from structure_net.visualization.decisions import Decision, decisions, plot_decision_log
from structure_net.visualization.directions import plot_map_barcode, plot_neural_persistence
from structure_net.visualization.evolution import (
    EvolutionCurve,
    EvolutionPoint,
    GrowthMark,
    Reference,
    plot_evolution,
)
from structure_net.visualization.graphs import plot_layered_graph
from structure_net.visualization.layers import (
    plot_bottlenecks,
    plot_gradient_flow,
    plot_rankings,
)
from structure_net.visualization.memory import plot_memory
from structure_net.visualization.profiles import plot_costs
from structure_net.visualization.timelines import plot_lineage, plot_timeline
from structure_net.visualization.units import plot_coactivation, plot_extrema

__all__ = [
    "Decision",
    "EvolutionCurve",
    "EvolutionPoint",
    "GrowthMark",
    "Reference",
    "decisions",
    "plot_betti_curves",
    "plot_bottlenecks",
    "plot_coactivation",
    "plot_costs",
    "plot_decision_log",
    "plot_evolution",
    "plot_extrema",
    "plot_gradient_flow",
    "plot_layered_graph",
    "plot_lineage",
    "plot_map_barcode",
    "plot_memory",
    "plot_neural_persistence",
    "plot_persistence_barcode",
    "plot_persistence_diagram",
    "plot_rankings",
    "plot_timeline",
]
