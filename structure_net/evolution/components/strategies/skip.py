"""Growth by skip connections: from what a layer gives to a layer further on that could use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from structure_net.core.arguments import check_number, check_whole
from structure_net.evolution.components.strategies.feasible import possible, ranked_places
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.editing import Proposal
from structure_net.evolution.interfaces import EditingStrategy
from structure_net.evolution.unit_layers import observed_layers
from structure_net.surgery.edits import AddSkipConnection


class SkipConnectionGrowthStrategy(EditingStrategy):
    """Adds projections, zero at birth, to the targets with the highest scores.

    The source is the one with the largest ``shortcut_gain`` (`ShortcutAnalyzer`) where the analysis
    has it, else the farthest one in front of the target that surgery takes.

    Args:
        score: The key of a mapping from layers, the targets, to numbers in the analysis, the
            highest first.
        places: How many connections at once.
        threshold: Scores at or below it are left alone.

    Raises:
        TypeError: ``places`` is not whole, or ``threshold`` no number.
        ValueError: ``places`` is below 1.
    """

    def __init__(
        self, score: str = "shortcut_ranking", *, places: int = 1, threshold: float = 0.0
    ) -> None:
        check_whole(1, places=places)
        check_number(threshold=threshold)
        self.score = score
        self.places = places
        self.threshold = threshold
        self.requires = frozenset({score})

    def propose(self, context: NetworkContext, analysis: Any) -> list[Proposal]:
        """At most one connection into each of the best targets."""
        gains = analysis.get("shortcut_gain", {})
        layers = list(observed_layers(context.network))
        found: list[Proposal] = []
        for target, score in ranked_places(analysis, self.score).items():
            if len(found) == self.places or score <= self.threshold:
                break
            for source in _sources(gains, target, layers):
                edit = AddSkipConnection(source, target)
                if possible(context, edit):
                    found.append(Proposal(edit, f"{self.score} of {score:.3g} at {target}"))
                    break
        return found


def _sources(gains: Any, target: str, layers: list[str]) -> list[str]:
    """Where a connection may come from, the best first."""
    if isinstance(gains, Mapping) and target in gains:
        known = {source: gain for source, gain in gains[target].items() if gain > 0}
        return sorted(known, key=lambda source: -known[source])
    # Those behind the target are refused by surgery, which knows the order of execution.
    return [name for name in layers if name != target]
