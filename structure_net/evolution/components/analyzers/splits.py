"""Which units are worth splitting: those that the loss pulls at most, and those that vary most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypedDict

from torch import Tensor

from structure_net.evolution.components.analyzers.looking import hidden, observed
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.interfaces import Analyzer
from structure_net.evolution.observation import Need


class SplitAnalysis(TypedDict):
    """What `SplitAnalyzer` reports, by hidden layer in order of execution.

    ``split_gradient_scores``: the second moment of the loss's gradient at each unit.
    ``split_activation_scores``: the variance of what each unit ends up with. Shapes ``(C,)``.

    ``split_ranking``: where to split first: the layers by the root mean square of the gradient at
    their units, which found the best place to widen in small dense networks of equal widths.
    """

    split_gradient_scores: Mapping[str, Tensor]
    split_activation_scores: Mapping[str, Tensor]
    split_ranking: Mapping[str, float]


class SplitAnalyzer(Analyzer):
    """Looks at activations and gradients of units over a few batches.

    Args:
        max_batches: How many.

    Raises:
        ValueError: It is less than 1.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACTIVATIONS, Need.GRADIENTS})
    provides: ClassVar[frozenset[str]] = frozenset(SplitAnalysis.__annotations__)

    def __init__(self, max_batches: int = 10) -> None:
        if max_batches < 1:
            raise ValueError(f"max_batches must be 1 or more; got {max_batches}.")
        self.max_batches = max_batches

    def analyze(self, context: NetworkContext) -> SplitAnalysis:
        """See `SplitAnalysis`.

        Raises:
            StructureNetError: The context carries no observation.
        """
        layers = observed(context, self).layers
        names = hidden(layers)
        gradients = {
            name: moment
            for name in names
            if (moment := layers[name].gradient_second_moment) is not None
        }
        sizes = {name: float(moment.mean().sqrt()) for name, moment in gradients.items()}
        return {
            "split_gradient_scores": gradients,
            "split_activation_scores": {name: layers[name].variance for name in names},
            "split_ranking": dict(sorted(sizes.items(), key=lambda item: -item[1])),
        }
