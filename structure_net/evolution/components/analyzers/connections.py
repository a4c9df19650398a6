"""How much each connection of a sparse layer is asked for, those that do not exist included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypedDict

from torch import Tensor

from structure_net.core.statistics import sparse_layers
from structure_net.evolution.components.analyzers.looking import observed
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.interfaces import Analyzer
from structure_net.evolution.observation import Need


class ConnectionAnalysis(TypedDict):
    """What `ConnectionAnalyzer` reports, by sparse layer.

    Shape ``(outputs, inputs)``, on the CPU; the norm over each kernel of a convolution.

    ``connection_gradient``: the magnitude of the mean gradient. ``connection_momentum``: of the
    gradient smoothed over the batches, the last ones counting most (`ConnectionGradient`).

    ``connection_ranking``: where to add connections first: the layers by the mean momentum of their
    live connections (sparse momentum's measure); a layer without any is left out.
    """

    connection_gradient: Mapping[str, Tensor]
    connection_momentum: Mapping[str, Tensor]
    connection_ranking: Mapping[str, float]


class ConnectionAnalyzer(Analyzer):
    """Takes the gradient of every possible connection of the sparse layers, over a few batches.

    Training does not have it: it masks the gradient of what is absent.

    Args:
        max_batches: How many batches are looked at.

    Raises:
        ValueError: It is less than 1.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.CONNECTION_GRADIENTS})

    def __init__(self, max_batches: int = 10) -> None:
        if max_batches < 1:
            raise ValueError(f"max_batches must be 1 or more; got {max_batches}.")
        self.max_batches = max_batches

    def analyze(self, context: NetworkContext) -> ConnectionAnalysis:
        """See `ConnectionAnalysis`.

        Raises:
            StructureNetError: The context carries no observation.
        """
        found = observed(context, self).connections
        momentum = {name: _magnitude(one.momentum) for name, one in found.items()}
        layers = sparse_layers(context.network)
        means = {
            name: float(magnitude[layers[name].pattern.mask().cpu()].mean())
            for name, magnitude in momentum.items()
            if layers[name].connections
        }
        return {
            "connection_gradient": {name: _magnitude(one.mean) for name, one in found.items()},
            "connection_momentum": momentum,
            "connection_ranking": dict(sorted(means.items(), key=lambda item: -item[1])),
        }


def _magnitude(gradient: Tensor) -> Tensor:
    return (gradient.flatten(2).norm(dim=2) if gradient.dim() > 2 else gradient.abs()).cpu()
