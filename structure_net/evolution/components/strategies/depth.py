"""Growth in depth: a new layer, the identity at birth, behind the layer with the highest score."""

from __future__ import annotations

from typing import Any

from structure_net.core.activations import check_activation
from structure_net.core.arguments import check_number, check_whole
from structure_net.core.statistics import network_stats
from structure_net.evolution.components.strategies.feasible import possible, ranked_places
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.editing import Proposal
from structure_net.evolution.interfaces import EditingStrategy
from structure_net.surgery.edits import ActivationName, InsertLayer


class DepthGrowthStrategy(EditingStrategy):
    """Inserts one layer behind the best place that takes one.

    The default score says where the reader of a layer could make use of features that it does not
    get; it was measured for new units, not for new layers.

    Args:
        score: The key of a mapping from layers to numbers in the analysis, the highest first.
        threshold: Scores at or below it are left alone.
        width: Units of the new layer; those of the layer in front of it if None. A narrower one
            keeps the function by a bypass.
        activation: In front of the new layer.
        max_layers: Layers with weights that the network may have.

    Raises:
        TypeError: A number is none or not whole.
        ValueError: ``max_layers`` or ``width`` is below 1, or the activation is unknown.
    """

    def __init__(
        self,
        score: str = "gradient_ranking",
        *,
        threshold: float = 0.0,
        width: int | None = None,
        activation: ActivationName = "relu",
        max_layers: int = 10,
    ) -> None:
        check_whole(1, max_layers=max_layers, width=1 if width is None else width)
        check_number(threshold=threshold)
        check_activation(activation)
        self.score = score
        self.threshold = threshold
        self.width = width
        self.activation: ActivationName = activation
        self.max_layers = max_layers
        self.requires = frozenset({score})

    def propose(self, context: NetworkContext, analysis: Any) -> list[Proposal]:
        """One layer, while there is room for it."""
        layers = len(network_stats(context.network)["layers"])
        if layers >= self.max_layers:
            return []
        for layer, score in ranked_places(analysis, self.score).items():
            edit = InsertLayer(layer, self.width, self.activation)
            if score > self.threshold and possible(context, edit):
                return [Proposal(edit, f"{self.score} of {score:.3g}, {layers} layers")]
        return []
