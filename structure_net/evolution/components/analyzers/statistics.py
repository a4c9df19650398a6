"""Basic statistics of a network: connections, parameters, operations, spectra of the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final, TypedDict, TypeVar

import torch
from torch import Tensor, nn

from structure_net.core.flops import Flops, count_flops
from structure_net.core.reachability import reachable
from structure_net.core.sparsity import SparseLayer
from structure_net.core.statistics import LayerStats, Spread, network_stats, outermost_modules
from structure_net.core.weights import unit_weights
from structure_net.evolution.analysis import Lazy
from structure_net.evolution.components.analyzers.looking import linked
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.interfaces import Analyzer
from structure_net.evolution.metrics.layered_graph import LayeredGraph
from structure_net.evolution.metrics.ranks import largest_singular_values, spectrum, stable_rank
from structure_net.evolution.metrics.validity import Unavailable

T = TypeVar("T")

_TOP: Final = 5
_NOT_FINITE: Final = Unavailable("weights are NaN or infinite")


@dataclass(frozen=True, slots=True, eq=False)
class WeightSpectrum:
    """The singular values of one layer's weights, outputs by inputs and kernel.

    Args:
        top: The largest ones, at most five, descending. Shape ``(k,)``, float64.
        norm: The root of the sum of all their squares (Frobenius).
        stable_rank: ``norm`` squared over the largest squared; unavailable for weights of 0.
    """

    top: Tensor
    norm: float
    stable_rank: float | Unavailable


class StatsAnalysis(TypedDict):
    """What `NetworkStatsAnalyzer` reports.

    ``network_connections``: live weights. ``network_parameters``: these and all other parameters.
    ``network_density``: connections over all that the layers' shapes allow. ``network_depth``:
    layers with weights. ``network_layers``: the table of the layers by name.
    ``network_fan_in``, ``network_fan_out``: by layer, live weights per output and per input unit.

    Computed when first read: ``network_flops``: operations of a forward pass per sample, see
    `Flops`. ``network_spectra``: by layer with one weight matrix, which is made of no sparse layer
    that stores its live weights. ``network_dead_paths``: by
    linear, convolutional or sparse layer, the units on no live path from an input to an output.
    ``network_ranking``: hidden layers, the one to widen first: the mean width of the layers in
    front of it and behind it over its own width; `Unavailable` where the layers cannot be linked.
    """

    network_connections: int
    network_parameters: int
    network_density: float
    network_depth: int
    network_layers: Mapping[str, LayerStats]
    network_fan_in: Mapping[str, Spread]
    network_fan_out: Mapping[str, Spread]
    network_flops: Flops | Lazy
    network_spectra: Mapping[str, WeightSpectrum | Unavailable] | Lazy
    network_dead_paths: Mapping[str, tuple[int, ...]] | Lazy
    network_ranking: Mapping[str, float] | Unavailable | Lazy


class NetworkStatsAnalyzer(Analyzer):
    """Counts what a network consists of; looks at one example, at no data."""

    provides: ClassVar[frozenset[str]] = frozenset(StatsAnalysis.__annotations__)

    def analyze(self, context: NetworkContext) -> StatsAnalysis:
        """See `StatsAnalysis`."""
        stats = network_stats(context.network)
        layers = {layer["name"]: layer for layer in stats["layers"]}
        return {
            "network_connections": stats["total_connections"],
            "network_parameters": stats["total_parameters"],
            "network_density": stats["density"],
            "network_depth": len(stats["layers"]),
            "network_layers": layers,
            "network_fan_in": {name: layer["fan_in"] for name, layer in layers.items()},
            "network_fan_out": {name: layer["fan_out"] for name, layer in layers.items()},
            "network_flops": self._lazy(context, "flops", count_flops),
            "network_spectra": context.lazy(lambda: self._spectra(context)),
            "network_dead_paths": self._lazy(context, "dead paths", _dead_paths),
            "network_ranking": context.lazy(lambda: _ranking(linked(context))),
        }

    def _lazy(
        self, context: NetworkContext, name: str, compute: Callable[[nn.Module, Any], Any]
    ) -> Lazy:
        """What ``compute`` makes of the network and an example, from memory where it is known."""

        def run() -> Any:
            example = context.with_example().example
            return compute(context.network, example)

        return context.lazy(lambda: context.recall(self, None, run, name=name))

    def _spectra(self, context: NetworkContext) -> dict[str, WeightSpectrum | Unavailable]:
        found = {}
        for name, module in outermost_modules(context.network):
            if isinstance(module, SparseLayer) and getattr(module, "storage", "live") == "live":
                compute = partial(_sparse_spectrum, module)
            elif (weights := unit_weights(module)) is not None and weights.numel():
                compute = partial(_spectrum, weights)
            else:
                continue
            found[name] = context.recall(self, name, compute, name="spectrum")
        return found


def _spectrum(weights: Tensor) -> WeightSpectrum | Unavailable:
    matrix = weights.flatten(1)
    if not bool(matrix.isfinite().all()):
        return _NOT_FINITE
    sigma = spectrum(matrix, centred=False).cpu() * len(matrix) ** 0.5
    return WeightSpectrum(sigma[:_TOP], float(sigma.square().sum().sqrt()), stable_rank(sigma))


def _sparse_spectrum(layer: SparseLayer) -> WeightSpectrum | Unavailable:
    """The same from live weights: of a product of the smaller side, or of its largest parts."""
    from scipy.sparse import csr_array

    pattern, live = layer.pattern, layer.live_weights.detach().cpu()
    live = live.flatten(1) if live.dim() > 1 else live[:, None]
    if not bool(live.isfinite().all()):
        return _NOT_FINITE
    size = live.shape[1]
    columns = pattern.columns.cpu()[:, None] * size + torch.arange(size)
    rows = pattern.rows.cpu()[:, None].expand_as(columns)
    shape = pattern.shape[0], pattern.shape[1] * size
    places = rows.flatten().numpy(), columns.flatten().numpy()
    matrix = csr_array((live.double().flatten().numpy(), places), shape=shape)
    sigma, norm = largest_singular_values(matrix, _TOP), float(live.double().norm())
    rank = (norm / float(sigma[0])) ** 2 if float(sigma[0]) > 0 else stable_rank(sigma)
    return WeightSpectrum(sigma, norm, rank)


def _dead_paths(network: nn.Module, example: Any) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple((~(reach.fed & reach.used)).nonzero().flatten().tolist())
        for name, reach in reachable(network, example).items()
    }


def _ranking(graph: LayeredGraph | Unavailable) -> dict[str, float] | Unavailable:
    if isinstance(graph, Unavailable):
        return graph
    ends = graph.by_layer(graph.inputs | graph.outputs)
    scores = {}
    for index, (name, size) in enumerate(zip(graph.layers, graph.sizes, strict=True)):
        before = [block.shape[0] for block in graph.blocks if block.target == index]
        behind = [block.shape[1] for block in graph.blocks if block.source == index]
        if before and behind and not bool(ends[name].any()):
            around = torch.tensor([*before, *behind], dtype=torch.float64)
            scores[name] = float(around.mean()) / size
    return dict(sorted(scores.items(), key=lambda item: -item[1]))
