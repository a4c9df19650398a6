"""Growth in width: new units where they gain most."""

from __future__ import annotations

import math
from typing import Any

from structure_net.core.arguments import check_positive, check_whole
from structure_net.evolution.components.strategies.feasible import (
    apart,
    editable_layers,
    possible,
    ranked_places,
    stands_at_frozen,
)
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.editing import Proposal
from structure_net.evolution.interfaces import EditingStrategy
from structure_net.graph.channels import ChannelGroup
from structure_net.surgery import Initialiser
from structure_net.surgery.edits import AddNeurons


class WidthGrowthStrategy(EditingStrategy):
    """Adds units to the layers with the highest scores.

    The default score, the natural gain of the best new unit, chose places with a regret of .002 and
    .012 nats where a random choice had .041 and .040, on 160 small dense networks (random and equal
    widths; ``docs/growth_location.md``).

    Args:
        score: The key of a mapping from layers to numbers in the analysis, the highest first.
        places: How many layers are widened at once.
        count: New units of each; by ``ratio`` if None.
        ratio: New units over present ones, rounded up.
        max_neurons_per_expansion: At one place at once.
        initialiser: How the new units begin; `ZeroOutgoing` if None.

    Raises:
        TypeError: A number is none or not whole, or ``initialiser`` is no initialiser.
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        score: str = "gradient_ranking",
        *,
        places: int = 1,
        count: int | None = None,
        ratio: float = 0.25,
        max_neurons_per_expansion: int = 64,
        initialiser: Initialiser | None = None,
    ) -> None:
        check_whole(1, places=places, max_neurons_per_expansion=max_neurons_per_expansion)
        check_whole(1, count=1 if count is None else count)
        check_positive(ratio=ratio)
        if not isinstance(initialiser, Initialiser | None):
            raise TypeError(
                "initialiser must be an Initialiser or None, such as GradMax(); got"
                f" {initialiser!r}."
            )
        self.score = score
        self.places = places
        self.count = count
        self.ratio = ratio
        self.max_neurons_per_expansion = max_neurons_per_expansion
        self.initialiser = initialiser
        self.requires = frozenset({score})

    def propose(self, context: NetworkContext, analysis: Any) -> list[Proposal]:
        """One edit for each of the best places that can be widened.

        The reasons name the places with higher scores that were passed over.

        Raises:
            TraceError: The network cannot be traced, so that nothing can be widened.
        """
        groups = editable_layers(context)
        found: list[tuple[AddNeurons, str]] = []
        widened: list[ChannelGroup] = []
        passed: list[str] = []
        for layer, score in ranked_places(analysis, self.score).items():
            if len(found) == self.places:
                break
            group = groups.get(layer)
            if group is not None and not apart(group, widened):
                passed.append(f"{layer} is widened with another layer")
                continue
            if group is None or not possible(context, self._edit(layer, group)):
                frozen = group is None and stands_at_frozen(context, layer)
                passed.append(f"{layer} {'is frozen' if frozen else 'cannot be widened'}")
                continue
            widened.append(group)
            reason = f"{self.score} of {score:.3g}, {group.size} units"
            found.append((self._edit(layer, group), reason))
        said = f" (passed over: {', '.join(passed)})" if passed else ""
        return [Proposal(edit, reason + said, self.initialiser) for edit, reason in found]

    def _edit(self, layer: str, group: ChannelGroup) -> AddNeurons:
        return AddNeurons(layer, self._units(group))

    def _units(self, group: ChannelGroup) -> int:
        """How many: whole units of the group, at least one."""
        wanted = math.ceil(self.ratio * group.size) if self.count is None else self.count
        step = group.granularity
        return max(1, min(wanted, self.max_neurons_per_expansion) // step) * step
