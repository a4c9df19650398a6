"""Pictures and summaries of networks that grew."""

from structure_net.den.utils.importance import analyze_layer_importance
from structure_net.den.utils.plots import plot_training_history, visualize_network_architecture
from structure_net.den.utils.summary import growth_summary, print_growth_summary

__all__ = [
    "analyze_layer_importance",
    "growth_summary",
    "plot_training_history",
    "print_growth_summary",
    "visualize_network_architecture",
]
