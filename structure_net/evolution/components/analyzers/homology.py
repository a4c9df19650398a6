"""Which directions live through a network, where they die, and its homology as a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final, TypedDict

import torch
from torch import Tensor

from structure_net.evolution.components.analyzers.looking import linked, probed
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.interfaces import Analyzer
from structure_net.evolution.memory import Reads
from structure_net.evolution.metrics.chains import LayerChain, chain_jacobians, layer_chains
from structure_net.evolution.metrics.complexes import flag_betti_numbers, path_betti_numbers
from structure_net.evolution.metrics.layered_graph import LayeredGraph
from structure_net.evolution.metrics.maps import Image, Keep, MapBarcode, map_barcode
from structure_net.evolution.metrics.validity import Unavailable
from structure_net.evolution.observation import Need

_REMEMBERED: Final = 2**22
"""Entries, at most, of what is remembered of a chain's segments for each sample: 32 MiB."""


@dataclass(frozen=True, slots=True)
class ChainBarcode:
    """The barcode of layers that follow each other.

    Args:
        source: What the first layer reads; space 0 of the barcode.
        layers: The layers; layer ``k``, counted from 0, is the map into space ``k + 1``.
        barcode: Of their maps.
    """

    source: str
    layers: tuple[str, ...]
    barcode: MapBarcode | Unavailable


@dataclass(frozen=True, slots=True)
class LayerDirections:
    """What becomes of directions at one layer, by the maps or as a mean over samples.

    Args:
        rank: Directions that the layer makes of all that its inputs can be.
        unused: Units of the layer beyond its rank.
        lost: Directions that the layer makes and the next one forgets; 0 of the last of a chain.
        isolated: ``[l, l]``: directions of its units that no input reaches and no reader reads.
        arriving: Directions of the chain's source that reach the layer's inputs.
        narrowed: Those of them that end here.
    """

    rank: float
    unused: float
    lost: float
    isolated: float
    arriving: float
    narrowed: float


class HomologyAnalysis(TypedDict):
    """What `HomologicalAnalyzer` reports.

    ``homology_barcodes``: of the weights of each chain of layers (see `metrics.layer_chains`; a
    plain network is one). ``homology_layers``: what becomes of directions at each layer that is in
    a chain. ``homology_jacobians``: the same of the derivatives between layers, as a mean over the
    first samples of the probe: what the activations cut off counts, too; by chain's first layer, a
    reason where a chain has none.

    ``homology_flag_betti``: holes of the whole network as a flag complex, by dimension, with its
    skip connections. ``homology_path_betti``: its path homology, of small networks.

    ``homology_ranking``: where to widen first: the hidden layers by the share of the directions
    arriving there that end there, by the weights; 0 where none arrives.
    """

    homology_barcodes: Sequence[ChainBarcode]
    homology_layers: Mapping[str, LayerDirections]
    homology_jacobians: Mapping[str, LayerDirections | Unavailable]
    homology_flag_betti: Sequence[int] | Unavailable
    homology_path_betti: Sequence[int] | Unavailable
    homology_ranking: Mapping[str, float]


class HomologicalAnalyzer(Analyzer):
    """Follows directions through the layers, by the weights and by derivatives at samples.

    The time grows with the cube of the widths: a quarter of a second for 784-256-256-256-10, and as
    much again for each sample.

    Args:
        max_batches: How many batches the samples are drawn from.
        probe_size: Samples at which derivatives are taken.
        tolerance: What a layer scales a direction by, relative to its norm, without which the
            direction counts as lost; None: rounding. Trained layers seldom lose a direction
            exactly.
        dimension: The largest dimension of holes of the flag complex.

    Raises:
        ValueError: An argument is out of range.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.PROBE})
    provides: ClassVar[frozenset[str]] = frozenset(HomologyAnalysis.__annotations__)

    def __init__(
        self,
        max_batches: int = 10,
        probe_size: int = 8,
        *,
        tolerance: float | None = None,
        dimension: int = 2,
    ) -> None:
        least = {"max_batches": max_batches, "probe_size": probe_size, "dimension": dimension}
        for name, value in least.items():
            if value < 1:
                raise ValueError(f"{name} must be 1 or more; got {value}.")
        if tolerance is not None and not 0 < tolerance < 1:
            raise ValueError(f"tolerance must be between 0 and 1; got {tolerance}.")
        self.max_batches = max_batches
        self.probe_size = probe_size
        self.tolerance = tolerance
        self.dimension = dimension

    def analyze(self, context: NetworkContext) -> dict[str, Any]:
        """See `HomologyAnalysis`; all of it is computed when it is first read.

        Raises:
            StructureNetError: The context carries no observation with a probe.
        """
        inputs = probed(context, self).inputs
        graph = context.lazy(lambda: linked(context))
        chains = context.lazy(lambda: _chains(context, graph.get()))
        barcodes = context.lazy(lambda: self._barcodes(context, chains.get()))
        layers = context.lazy(lambda: _layers(barcodes.get()))
        return {
            "homology_barcodes": barcodes,
            "homology_layers": layers,
            "homology_jacobians": context.lazy(
                lambda: self._derivatives(context, chains.get(), inputs)
            ),
            "homology_flag_betti": context.lazy(
                lambda: context.recall(self, None, lambda: self._flag(graph.get()), name="flag")
            ),
            "homology_path_betti": context.lazy(
                lambda: context.recall(self, None, lambda: _paths(graph.get()), name="paths")
            ),
            "homology_ranking": context.lazy(lambda: _ranking(layers.get(), graph.get())),
        }

    def _barcodes(
        self, context: NetworkContext, chains: Sequence[LayerChain]
    ) -> tuple[ChainBarcode, ...]:
        return tuple(
            context.recall(
                self, chain.layers, partial(self._barcode, context, chain), name="barcode"
            )
            for chain in chains
        )

    def _barcode(self, context: NetworkContext, chain: LayerChain) -> ChainBarcode:
        keep = self._keep(context, chain, "weights")
        found = map_barcode(chain.maps, tolerance=self.tolerance, keep=keep)
        return ChainBarcode(chain.source, chain.layers, found)

    def _derivatives(
        self, context: NetworkContext, chains: Sequence[LayerChain], inputs: Any
    ) -> dict[str, LayerDirections | Unavailable]:
        result: dict[str, LayerDirections | Unavailable] = {}
        for chain in chains:
            if inputs is None:
                missing = Unavailable("the inputs of different batches do not fit into one tensor")
                result[chain.layers[0]] = missing
                continue
            result |= context.recall(
                self,
                chain.layers,
                partial(self._at_samples, context, chain, inputs),
                name="derivatives",
                reads="activations",
            )
        return result

    def _at_samples(
        self, context: NetworkContext, chain: LayerChain, inputs: Any
    ) -> dict[str, LayerDirections | Unavailable]:
        spaces = (chain.source, *chain.layers, "")

        def keep(place: int, compute: Callable[[], Tensor]) -> Tensor:
            return context.recall(
                self,
                spaces[place : place + 2],
                compute,
                name=("jacobian", spaces[place : place + 3]),
                reads="activations",
            )

        remember = keep if _is_small(chain) else None
        jacobians = chain_jacobians(context.network, chain.layers, inputs, keep=remember)
        if isinstance(jacobians, Unavailable):
            return {chain.layers[0]: jacobians}
        found: list[list[LayerDirections]] = []
        for sample, maps in enumerate(zip(*(one.unbind(0) for one in jacobians), strict=True)):
            images = self._keep(context, chain, "activations", sample)
            barcode = map_barcode(maps, tolerance=self.tolerance, keep=images)
            if isinstance(barcode, Unavailable):
                return {chain.layers[0]: barcode}
            found.append([_directions(barcode, space + 1) for space in range(len(maps))])
        means = [_mean([one[place] for one in found]) for place in range(len(chain.layers))]
        return dict(zip(chain.layers, means, strict=True))

    def _keep(
        self, context: NetworkContext, chain: LayerChain, reads: Reads, sample: int = 0
    ) -> Keep | None:
        """Remembers what segments of the chain leave of a space, if it is not too much.

        What follows a segment is part of its name: behind an inserted layer the same derivative
        is another.
        """
        if not _is_small(chain):
            return None
        spaces = (chain.source, *chain.layers, "")

        def keep(first: int, last: int, tolerance: float, compute: Callable[[], Image]) -> Image:
            return context.recall(
                self,
                spaces[first : last + 2],
                compute,
                name=("image", sample, tolerance, spaces[first : last + 3]),
                reads=reads,
            )

        return keep

    def _flag(self, graph: LayeredGraph | Unavailable) -> tuple[int, ...] | Unavailable:
        if isinstance(graph, Unavailable):
            return graph
        return flag_betti_numbers(
            graph.tails, graph.heads, graph.vertices, dimension=self.dimension
        )


def _chains(context: NetworkContext, graph: LayeredGraph | Unavailable) -> tuple[LayerChain, ...]:
    return () if isinstance(graph, Unavailable) else layer_chains(context.network, graph)


def _is_small(chain: LayerChain) -> bool:
    widths = chain.weights[0].shape[1], *(one.shape[0] for one in chain.weights)
    return sum(widths) ** 2 <= _REMEMBERED


def _paths(graph: LayeredGraph | Unavailable) -> tuple[int, ...] | Unavailable:
    if isinstance(graph, Unavailable):
        return graph
    longest = max(len(graph.sizes) - 1, 0)
    return path_betti_numbers(graph.tails, graph.heads, graph.vertices, dimension=longest)


def _layers(barcodes: Sequence[ChainBarcode]) -> dict[str, LayerDirections]:
    return {
        name: _directions(chain.barcode, space + 1)
        for chain in barcodes
        if isinstance(chain.barcode, MapBarcode)
        for space, name in enumerate(chain.layers)
    }


def _directions(barcode: MapBarcode, space: int) -> LayerDirections:
    return LayerDirections(
        rank=barcode.ranks[space - 1, space],
        unused=barcode.unused(space),
        lost=barcode.lost(space),
        isolated=barcode.isolated(space),
        arriving=barcode.ranks[0, space - 1],
        narrowed=barcode.narrowed(space),
    )


def _mean(found: Sequence[LayerDirections]) -> LayerDirections:
    rows = [
        (one.rank, one.unused, one.lost, one.isolated, one.arriving, one.narrowed) for one in found
    ]
    return LayerDirections(*torch.tensor(rows, dtype=torch.float64).mean(0).tolist())


def _ranking(
    layers: Mapping[str, LayerDirections], graph: LayeredGraph | Unavailable
) -> dict[str, float]:
    """Without the layers that give the outputs, whose width is not ours to choose."""
    if isinstance(graph, Unavailable):
        return {}
    given = {name for name, ends in graph.by_layer(graph.outputs).items() if bool(ends.any())}
    shares = {
        name: one.narrowed / one.arriving if one.arriving else 0.0
        for name, one in layers.items()
        if name not in given
    }
    return dict(sorted(shares.items(), key=lambda item: -item[1]))
