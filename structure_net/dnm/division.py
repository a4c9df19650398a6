"""Neuron division: units of the narrowest layer divide, and the halves grow apart."""

from __future__ import annotations

from typing import Any

from structure_net.core.arguments import check_number
from structure_net.dnm.configuration import DivisionStrategy
from structure_net.evolution.components import NeuronSplitStrategy
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.editing import Proposal
from structure_net.evolution.interfaces import EditingStrategy
from structure_net.surgery.edits import SplitNeurons


class AdaptiveNeuronDivision(EditingStrategy):
    """Divides the units of the layer with the highest bottleneck score that can change.

    It is `NeuronSplitStrategy` at the places that `LayerPerformanceAnalyzer` ranks; the new halves
    take over their share of what reads the units over some epochs, by later edits
    (`structure_net.evolution.components.due_shares`).

    Args:
        strategy: Which units divide: those with the largest gradients, with the most varied
            activations, or by the mean of both.
        noise_scale: What tells the halves apart, relative to the spread of the layer's weights.
        progressive_activation_epochs: Over so many epochs a new half takes over its share.
        fraction: The share of the layer's units that divides.
        score: The key of a mapping from layers to numbers in the analysis.

    Raises:
        TypeError: A number is none or not whole.
        ValueError: An argument is out of range or unknown.
    """

    def __init__(
        self,
        strategy: DivisionStrategy = "hybrid",
        noise_scale: float = 0.1,
        progressive_activation_epochs: int = 5,
        *,
        fraction: float = 0.25,
        score: str = "performance_ranking",
    ) -> None:
        check_number(0, noise_scale=noise_scale)
        self._split = NeuronSplitStrategy(
            strategy,
            score=score,
            places=1,
            fraction=fraction,
            noise=noise_scale,
            progressive_activation_epochs=progressive_activation_epochs,
        )
        self.strategy: DivisionStrategy = strategy
        self.noise_scale = noise_scale
        self.progressive_activation_epochs = progressive_activation_epochs
        self.fraction = fraction
        self.score = score
        self.requires = self._split.requires

    def propose(self, context: NetworkContext, analysis: Any) -> list[Proposal]:
        """At most one division."""
        found = self._split.proposals(context, analysis)
        return [proposal for proposal in found if isinstance(proposal.edit, SplitNeurons)][:1]
