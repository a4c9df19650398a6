"""Hebbian growth: what fires together wires together, and what fires alike becomes one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from structure_net.core.arguments import check_number, check_whole
from structure_net.evolution.components.strategies.feasible import (
    apart,
    editable_layers,
    possible,
    ranked_places,
    sparse_layer,
)
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.editing import Proposal
from structure_net.evolution.interfaces import EditingStrategy
from structure_net.evolution.metrics.validity import Unavailable
from structure_net.graph.channels import ChannelGroup
from structure_net.surgery.edits import AddConnections, MergeNeurons


class HebbianGrowthStrategy(EditingStrategy):
    """Connects units of sparse layers that fire together, and merges clones.

    New connections have weight 0: the function stays. Of two units that correlate, one is dropped
    and its readers read the other, where that gets less than ``mismatch`` of its activation wrong:
    0 for equal units, for which the function stays.

    Args:
        pairs: New connections of each reader at once; the analyzer offers at most its own
            ``pairs``. 0 for none.
        mismatch: The largest root mean square error of a merge, relative to what the dropped unit
            gives; None for no merges.
        places: How many layers are connected, and how many merged in, at once; all if None.
        score: The key of a mapping from layers to numbers in the analysis, the highest first; if
            None, the layers with the largest sum of absolute correlations.

    Raises:
        TypeError: A number is none or not whole.
        ValueError: An argument is out of range.

    References:
        Hebb, "The Organization of Behavior", 1949.
    """

    def __init__(
        self,
        pairs: int = 20,
        mismatch: float | None = 0.05,
        *,
        places: int | None = None,
        score: str | None = None,
    ) -> None:
        check_whole(0, pairs=pairs)
        check_number(0, mismatch=0 if mismatch is None else mismatch)
        check_whole(1, places=1 if places is None else places)
        self.pairs = pairs
        self.mismatch = mismatch
        self.places = places
        self.score = score
        keys = {"hebbian_unconnected"} if pairs else set()
        keys |= {"hebbian_redundant"} if mismatch is not None else set()
        self.requires = frozenset(keys | ({score} if score is not None else set()))

    def propose(self, context: NetworkContext, analysis: Any) -> list[Proposal]:
        """Connections first, while all units have their numbers; then merges."""
        connected = self._connected(context, analysis) if self.pairs else []
        merged = self._merged(context, analysis) if self.mismatch is not None else []
        return [*connected, *merged]

    def _connected(self, context: NetworkContext, analysis: Any) -> list[Proposal]:
        found = {
            reader: offered[: self.pairs]
            for reader, offered in analysis["hebbian_unconnected"].items()
            if offered and sparse_layer(context, reader) is not None
        }
        strength = {r: sum(abs(c) for _, _, c in offered) for r, offered in found.items()}
        return [
            Proposal(
                AddConnections(reader, tuple((out, source) for out, source, _ in found[reader])),
                f"fire together, correlations up to {max(abs(c) for *_, c in found[reader]):.2f}",
            )
            for reader in self._chosen(analysis, strength)
        ]

    def _merged(self, context: NetworkContext, analysis: Any) -> list[Proposal]:
        alike = {
            layer: tuple(one for one in several if one.mismatch <= (self.mismatch or 0.0))
            for layer, several in analysis["hebbian_redundant"].items()
            if not isinstance(several, Unavailable)
        }
        strength = {
            layer: sum(one.correlation for one in several)
            for layer, several in alike.items()
            if several
        }
        if not strength:
            return []
        groups = editable_layers(context, sparse_suffices=self.pairs > 0)
        taken: list[ChannelGroup] = []
        found: list[Proposal] = []
        for layer in self._chosen(analysis, strength):
            pairs = tuple((one.kept, one.dropped) for one in alike[layer])
            group, edit = groups.get(layer), MergeNeurons(layer, pairs)
            if group is not None and apart(group, taken) and possible(context, edit):
                taken.append(group)
                worst = max(one.mismatch for one in alike[layer])
                found.append(Proposal(edit, f"fire alike, mismatch up to {worst:.2g}"))
        return found

    def _chosen(self, analysis: Any, strength: Mapping[str, float]) -> Iterable[str]:
        """The layers to act on, the best first."""
        order = ranked_places(analysis, self.score) if self.score is not None else strength
        ranked = sorted((layer for layer in order if layer in strength), key=lambda n: -order[n])
        return ranked[: self.places]
