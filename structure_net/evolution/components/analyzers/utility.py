"""How much each unit contributes to the layers that read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypedDict

import torch
from torch import Tensor

from structure_net.evolution.components.analyzers.looking import linked, observed
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.interfaces import Analyzer
from structure_net.evolution.metrics.layered_graph import LayeredGraph
from structure_net.evolution.metrics.utility import contribution_utility
from structure_net.evolution.metrics.validity import Unavailable
from structure_net.evolution.observation import LayerObservation, Need


class UtilityAnalysis(TypedDict):
    """What `UtilityAnalyzer` reports, by hidden layer.

    ``utility_contribution``: of each unit, its mean absolute activation times the sum of the
    magnitudes of its outgoing weights. Shape ``(C,)``, float64. Layers whose units the layered
    graph cannot follow are left out.

    ``utility_mean``: of each unit of these layers, what it gives on average: what its readers get,
    where one of them reads the units as they are, else the mean activation. Shape ``(C,)``,
    float64.

    ``utility_ranking``: the layers by the mean of it, the largest first: where single units carry
    most; for replacing units, from the end.
    """

    utility_contribution: Mapping[str, Tensor]
    utility_mean: Mapping[str, Tensor]
    utility_ranking: Mapping[str, float]


class UtilityAnalyzer(Analyzer):
    r"""Weighs what units give by the weights that read them.

    Dohare et al. average the utility over steps, each counting :math:`\eta = .99` of the next, and
    divide it by :math:`1 - \eta^a` at age ``a``, since the weights of such a mean sum to that. Here
    it is averaged over batches at the weights as they are, each counting the same: the mean needs
    no correction, and a newborn unit is judged by what it does now.

    Args:
        max_batches: How many batches are looked at.

    Raises:
        ValueError: It is less than 1.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACTIVATIONS})
    provides: ClassVar[frozenset[str]] = frozenset(UtilityAnalysis.__annotations__)

    def __init__(self, max_batches: int = 10) -> None:
        if max_batches < 1:
            raise ValueError(f"max_batches must be 1 or more; got {max_batches}.")
        self.max_batches = max_batches

    def analyze(self, context: NetworkContext) -> UtilityAnalysis:
        """See `UtilityAnalysis`.

        Raises:
            StructureNetError: The context carries no observation.
        """
        layers = observed(context, self).layers
        graph = linked(context)
        found = {}
        if not isinstance(graph, Unavailable):
            for name, outgoing in _outgoing(graph).items():
                if name in layers and layers[name].mean_absolute.shape == outgoing.shape:
                    activity = layers[name].mean_absolute.cpu()
                    found[name] = contribution_utility(activity, outgoing)
        means = {name: float(utility.mean()) for name, utility in found.items()}
        ranking = dict(sorted(means.items(), key=lambda item: -item[1]))
        return {
            "utility_contribution": found,
            "utility_mean": {name: _given(layers, name) for name in found},
            "utility_ranking": ranking,
        }


def _given(layers: Mapping[str, LayerObservation], name: str) -> Tensor:
    """What the units of a layer give on average. Shape ``(C,)``."""
    own = layers[name].mean
    readers = (layers[reader].input_mean for reader in layers[name].readers if reader in layers)
    return next((mean for mean in readers if mean is not None and mean.shape == own.shape), own)


def _outgoing(graph: LayeredGraph) -> dict[str, Tensor]:
    """The sum of each unit's outgoing weights; layers that give the outputs are left out."""
    total = torch.zeros(graph.vertices, dtype=torch.float64)
    total.index_add_(0, graph.tails, graph.weights)
    ends = graph.by_layer(graph.outputs)
    parts = graph.by_layer(total)
    return {name: part for name, part in parts.items() if not bool(ends[name].any())}
