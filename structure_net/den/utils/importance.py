"""How much each hidden layer's units are read."""

from __future__ import annotations

from structure_net.den.core import DynamicExpandableNetwork
from structure_net.den.measuring import unit_importances


def analyze_layer_importance(network: DynamicExpandableNetwork) -> dict[str, float]:
    r"""The mean importance of each hidden layer's units, relative to the layer where it is largest.

    A unit's importance is :math:`I_j = \lVert w_{\cdot j} \rVert_2 + |b_j|`, over all weights that
    read it.

    Args:
        network: Read only.

    Returns:
        By the layer's name, in the order in which they run; in [0, 1], one of them 1. All 0 where
        nothing is read.
    """
    means = {name: float(units.mean()) for name, units in unit_importances(network).items()}
    largest = max(means.values())
    return {name: mean / largest if largest else 0.0 for name, mean in means.items()}
