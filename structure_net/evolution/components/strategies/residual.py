"""Growth in depth by residual blocks."""

from __future__ import annotations

from typing import Any

from structure_net.core.activations import check_activation
from structure_net.core.arguments import check_number, check_whole
from structure_net.core.statistics import network_stats
from structure_net.evolution.components.strategies.feasible import possible, ranked_places
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.editing import Proposal
from structure_net.evolution.interfaces import EditingStrategy
from structure_net.surgery.edits import ActivationName, AddResidualBlock


class ResidualBlockGrowthStrategy(EditingStrategy):
    """Puts a residual block, the identity at birth, behind the layer with the highest score.

    The block is ``x + V activation(U x)`` with ``V = 0``: the function stays, and both of its maps
    learn from the first two steps on.

    Args:
        score: The key of a mapping from layers to numbers in the analysis. The default is the
            pressure of `SimpleInformationFlowAnalyzer`: how much more a layer's neighbours pass on.
        threshold: Layers whose score is not above it are left alone; None for none.
        width: Hidden units of the block; those of the layer if None.
        activation: Of the block.
        max_layers: Layers with weights; a block adds two.

    Raises:
        TypeError: A number is none or not whole.
        ValueError: ``max_layers`` or ``width`` is below 1, or the activation is unknown.

    References:
        The seed's ``ResidualBlockGrowthStrategy``; He et al., "Deep residual learning", CVPR 2016.
    """

    def __init__(
        self,
        score: str = "information_ranking",
        *,
        threshold: float | None = None,
        width: int | None = None,
        activation: ActivationName = "relu",
        max_layers: int = 10,
    ) -> None:
        check_whole(1, max_layers=max_layers, width=1 if width is None else width)
        check_number(threshold=0 if threshold is None else threshold)
        check_activation(activation)
        self.score = score
        self.threshold = threshold
        self.width = width
        self.activation: ActivationName = activation
        self.max_layers = max_layers
        self.requires = frozenset({score})

    def propose(self, context: NetworkContext, analysis: Any) -> list[Proposal]:
        """One block behind the best place that takes one, while there is room for two layers."""
        if len(network_stats(context.network)["layers"]) + 2 > self.max_layers:
            return []
        for layer, score in ranked_places(analysis, self.score).items():
            edit = AddResidualBlock(layer, self.width, self.activation)
            above = self.threshold is None or score > self.threshold
            if above and possible(context, edit):
                return [Proposal(edit, f"{self.score} of {score:.3g} is the highest")]
        return []
