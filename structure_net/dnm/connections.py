"""Connection growth: new paths at the narrowest layer, of weight 0 at birth."""

from __future__ import annotations

import math
from itertools import islice
from typing import Any

import torch

from structure_net.core.arguments import check_positive
from structure_net.core.sparsity import SparseLayer
from structure_net.evolution.components import SkipConnectionGrowthStrategy
from structure_net.evolution.components.strategies.feasible import (
    Lacking,
    generator_of,
    ranked_places,
    sparse_layer,
)
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.editing import Proposal
from structure_net.evolution.interfaces import EditingStrategy
from structure_net.surgery.edits import AddConnections


class ConnectionGrowthManager(EditingStrategy):
    """Grows connections where the network is narrowest; the function stays, the gradient decides.

    - If the layer with the highest score is **sparse** and not full, it gets a fraction of its
      connections once more, evenly over its units, drawn at random among those that it lacks.
    - Otherwise a **skip connection** leads around it, from a layer in front of it (the nearest that
      surgery takes) to the one behind it in order of execution, or else into it: in a dense layer
      every connection exists already (`SkipConnectionGrowthStrategy`).

    Args:
        fraction: Of a sparse layer's connections.
        score: The key of a mapping from layers to numbers in the analysis.

    Raises:
        TypeError: ``fraction`` is no number.
        ValueError: It is not positive.
    """

    def __init__(self, fraction: float = 0.25, *, score: str = "performance_ranking") -> None:
        check_positive(fraction=fraction)
        self._skip = SkipConnectionGrowthStrategy(score=score)
        self.fraction = fraction
        self.score = score
        self.requires = frozenset({score})

    def propose(self, context: NetworkContext, analysis: Any) -> list[Proposal]:
        """At most one growth."""
        for name, value in ranked_places(analysis, self.score).items():
            layer = sparse_layer(context, name)
            pairs = () if layer is None else self._pairs(context, name, layer)
            if pairs:
                reason = f"{self.score} of {value:.3g}: {name} reads too little of what is there"
                return [Proposal(AddConnections(name, pairs), reason)]
            break
        context = context.with_example()
        ways = (self._around(context, analysis), analysis)
        found = (proposal for way in ways for proposal in self._skip.proposals(context, way))
        return list(islice(found, 1))

    def _around(self, context: NetworkContext, analysis: Any) -> dict[str, Any]:
        """An analysis that ranks, instead of each layer, the one behind it."""
        from structure_net.graph import graph_of

        order = list(graph_of(context.network, context.example).layers)
        targets: dict[str, float] = {}
        sources: dict[str, dict[str, float]] = {}
        for layer, value in ranked_places(analysis, self.score).items():
            place = order.index(layer) if layer in order else len(order)
            for behind in order[place + 1 : place + 2]:
                targets.setdefault(behind, value)
                front = {name: 1.0 + at for at, name in enumerate(order[:place])}
                sources.setdefault(behind, front)
        return {self.score: targets, "shortcut_gain": sources}

    def _pairs(
        self, context: NetworkContext, name: str, layer: SparseLayer
    ) -> tuple[tuple[int, int], ...]:
        each = math.ceil(self.fraction * layer.connections / max(1, layer.out_channels))
        even = torch.ones(len(layer.sources), dtype=torch.float64)
        generator = generator_of(context, "connection growth", name)
        return tuple(Lacking.of(layer).drawn(even, each, generator))
