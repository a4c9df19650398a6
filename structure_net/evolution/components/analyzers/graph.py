"""The layered graph of a network: which units its paths run through, and what holds it together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypedDict, TypeVar

import torch
from torch import Tensor

from structure_net.evolution.analysis import Lazy
from structure_net.evolution.components.analyzers.looking import linked
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.interfaces import Analyzer
from structure_net.evolution.metrics.accelerated import by_networkx, cugraph, torch_on_cuda
from structure_net.evolution.metrics.centrality import Degrees, betweenness, degrees, pagerank
from structure_net.evolution.metrics.connectivity import (
    Dismantling,
    components,
    dismantling,
    spectral_gap,
)
from structure_net.evolution.metrics.layered_graph import LayeredGraph
from structure_net.evolution.metrics.null_models import AgainstNull, beside, nulls, rigid
from structure_net.evolution.metrics.partitions import Communities, communities
from structure_net.evolution.metrics.paths import (
    Disconnection,
    effective_width,
    path_count,
    path_shares,
    percolation_threshold,
)
from structure_net.evolution.metrics.patterns import Clustering, Motifs, clustering, motifs
from structure_net.evolution.metrics.validity import Unavailable

T = TypeVar("T")
_Graph = LayeredGraph | Unavailable

PIVOTS = 512
"""Sources that betweenness is estimated from where all of them would be too many."""

_STEPS_PER_EDGE: Final = 200
"""Elementary steps that one rewired network and its communities take for each connection."""


class GraphAnalysis(TypedDict):
    """What `GraphAnalyzer` reports; every value is computed when it is first read.

    By layer are mappings from the layer's name to a tensor of one value per unit; the inputs are a
    layer called ``(input)``. Any value is `Unavailable` where it means nothing, and all of them are
    where the network has no layered graph.

    ``graph_network``: the graph itself. ``graph_units``: the size of each layer.
    ``graph_connections``: edges between units; a kernel is one. ``graph_unlinked``: what the graph
    leaves out, with the reason.

    By layer: ``graph_fan_in``, ``graph_fan_out``, ``graph_strength_in``, ``graph_strength_out``
    (see `Degrees`); ``graph_path_shares``: the fraction of paths from inputs to outputs;
    ``graph_betweenness``; ``graph_weighted_betweenness``: where a connection is the shorter the
    stronger it is in its layer; ``graph_pagerank``; ``graph_square_clustering``;
    ``graph_communities``: labels, and whether a community spans layers.
    ``graph_betweenness_sources``: how many units' paths the betweenness is made of.

    ``graph_paths``: the natural logarithm of the number of paths. ``graph_clustering``: see
    `Clustering`; the triangle's is 0 without skip connections. ``graph_spectral_gap``: of the
    largest component; ``graph_components``: the sizes of the components, largest first.
    ``graph_percolation``: the relative weight at which inputs and outputs disconnect.
    ``graph_removal``: how the graph falls apart under ``random`` and under ``targeted`` removal
    of units (most connected first).

    ``graph_motifs``: counts. ``graph_modularity``, ``graph_bifans``, ``graph_feed_forward_loops``:
    beside networks with the same degrees, rewired.

    ``graph_effective_width``: by hidden layer, how many units its paths are shared among.
    ``graph_ranking``: hidden layers, the one to widen first: the fraction of all paths that lead
    through a typical unit, 1 over the effective width.
    """

    graph_network: LayeredGraph | Unavailable | Lazy
    graph_units: Mapping[str, int] | Lazy
    graph_connections: int | Lazy
    graph_unlinked: Mapping[str, str] | Lazy
    graph_fan_in: Mapping[str, Tensor] | Lazy
    graph_fan_out: Mapping[str, Tensor] | Lazy
    graph_strength_in: Mapping[str, Tensor] | Lazy
    graph_strength_out: Mapping[str, Tensor] | Lazy
    graph_path_shares: Mapping[str, Tensor] | Unavailable | Lazy
    graph_paths: float | Unavailable | Lazy
    graph_betweenness: Mapping[str, Tensor] | Unavailable | Lazy
    graph_weighted_betweenness: Mapping[str, Tensor] | Unavailable | Lazy
    graph_betweenness_sources: int | Lazy
    graph_pagerank: Mapping[str, Tensor] | Lazy
    graph_clustering: Clustering | Unavailable | Lazy
    graph_square_clustering: Mapping[str, Tensor] | Unavailable | Lazy
    graph_communities: Mapping[str, Tensor] | Lazy
    graph_modularity: AgainstNull | Unavailable | Lazy
    graph_spectral_gap: float | Unavailable | Lazy
    graph_components: tuple[int, ...] | Lazy
    graph_percolation: Disconnection | Unavailable | Lazy
    graph_removal: Mapping[str, Dismantling] | Lazy
    graph_motifs: Motifs | Unavailable | Lazy
    graph_bifans: AgainstNull | Unavailable | Lazy
    graph_feed_forward_loops: AgainstNull | Unavailable | Lazy
    graph_effective_width: Mapping[str, float] | Unavailable | Lazy
    graph_ranking: Mapping[str, float] | Unavailable | Lazy


@dataclass(frozen=True, slots=True, eq=False)
class _Nulls:
    """What is compared with rewired graphs, of all of them."""

    modularity: AgainstNull | Unavailable
    bifans: AgainstNull | Unavailable
    loops: AgainstNull | Unavailable


class GraphAnalyzer(Analyzer):
    """Reads the layered graph of a network and measures it; looks at one example, at no data.

    The graph is read again after every edit and every training phase, and each value at most once
    in between. All of them take a tenth of a second for a sparse network of 1,000 units, and about
    three for a dense 784-512-512-10; two of these go to ``graph_modularity``.

    Args:
        null_samples: Rewired networks that modularity and motifs are compared with.
        max_work: Up to how many elementary steps betweenness and motifs are computed exactly (a
            billion take about a second). Beyond, betweenness is estimated from `PIVOTS` sources,
            or computed on a CUDA device through networkx where that works; squares, motifs and
            what is compared with rewired networks are `Unavailable`.

    Raises:
        ValueError: An argument is out of range.
    """

    provides: ClassVar[frozenset[str]] = frozenset(GraphAnalysis.__annotations__)

    def __init__(self, null_samples: int = 10, *, max_work: float = 1e10) -> None:
        if null_samples < 2:
            raise ValueError(f"null_samples must be 2 or more, for a spread; got {null_samples}.")
        if not max_work > 0:
            raise ValueError(f"max_work must be positive; got {max_work}.")
        self.null_samples = null_samples
        self.max_work = max_work

    def analyze(self, context: NetworkContext) -> GraphAnalysis:
        """See `GraphAnalysis`."""
        view = _View(self, context)
        return {
            "graph_network": view.of(lambda g: g),
            "graph_units": view.of(lambda g: dict(zip(g.layers, g.sizes, strict=True))),
            "graph_connections": view.of(lambda g: g.edges),
            "graph_unlinked": view.of(lambda g: dict(g.unlinked)),
            "graph_fan_in": view.units(lambda g: view.degrees(g).fan_in),
            "graph_fan_out": view.units(lambda g: view.degrees(g).fan_out),
            "graph_strength_in": view.units(lambda g: view.degrees(g).strength_in),
            "graph_strength_out": view.units(lambda g: view.degrees(g).strength_out),
            "graph_path_shares": view.units(view.shares),
            "graph_paths": view.of(path_count),
            "graph_betweenness": view.units(view.betweenness),
            "graph_weighted_betweenness": view.units(view.weighted_betweenness),
            "graph_betweenness_sources": view.of(view.sources),
            "graph_pagerank": view.units(pagerank),
            "graph_clustering": view.of(view.clustering),
            "graph_square_clustering": view.units(view.squares),
            "graph_communities": view.units(lambda g: view.communities(g).labels),
            "graph_modularity": view.of(lambda g: view.nulls(g).modularity),
            "graph_spectral_gap": view.of(lambda g: spectral_gap(g, largest_component=True)),
            "graph_components": view.of(_component_sizes),
            "graph_percolation": view.of(lambda g: percolation_threshold(g.relative())),
            "graph_removal": view.of(view.removal),
            "graph_motifs": view.of(view.motifs),
            "graph_bifans": view.of(lambda g: view.nulls(g).bifans),
            "graph_feed_forward_loops": view.of(lambda g: view.nulls(g).loops),
            "graph_effective_width": view.of(view.widths),
            "graph_ranking": view.of(view.ranking),
        }


class _View:
    """The measures of one look at one network, each computed once."""

    def __init__(self, analyzer: GraphAnalyzer, context: NetworkContext) -> None:
        self._analyzer = analyzer
        self._context = context
        self._known: dict[str, Any] = {}

    def of(self, measure: Callable[[LayeredGraph], Any]) -> Lazy:
        """A value that is computed of the graph when it is read."""

        def compute() -> Any:
            graph = self._graph()
            return graph if isinstance(graph, Unavailable) else measure(graph)

        return self._context.lazy(compute)

    def units(self, measure: Callable[[LayeredGraph], Tensor | Unavailable]) -> Lazy:
        """The same of a measure with one value per unit, by layer."""

        def split(graph: LayeredGraph) -> dict[str, Tensor] | Unavailable:
            values = measure(graph)
            return values if isinstance(values, Unavailable) else graph.by_layer(values)

        return self.of(split)

    def degrees(self, graph: LayeredGraph) -> Degrees:
        """Of the graph."""
        return self._once("degrees", lambda: degrees(graph))

    def shares(self, graph: LayeredGraph) -> Tensor | Unavailable:
        """Of the paths."""
        return self._once("shares", lambda: path_shares(graph))

    def widths(self, graph: LayeredGraph) -> dict[str, float] | Unavailable:
        """The effective width of each hidden layer that a path leads through."""
        hidden = self._hidden(graph)
        if isinstance(hidden, Unavailable):
            return hidden
        found = {name: effective_width(shares) for name, shares in hidden.items()}
        return {name: width for name, width in found.items() if not isinstance(width, Unavailable)}

    def ranking(self, graph: LayeredGraph) -> dict[str, float] | Unavailable:
        """The share of the unit that a path through a layer meets, largest first."""
        hidden = self._hidden(graph)
        if isinstance(hidden, Unavailable):
            return hidden
        scores = {
            name: float(shares.square().sum() / shares.sum())
            for name, shares in hidden.items()
            if float(shares.sum()) > 0
        }
        return dict(sorted(scores.items(), key=lambda item: -item[1]))

    def sources(self, graph: LayeredGraph) -> int:
        """How many sources betweenness takes."""
        exact = graph.vertices * graph.edges <= self._analyzer.max_work or cugraph().available
        return graph.vertices if exact else min(PIVOTS, graph.vertices)

    def betweenness(self, graph: LayeredGraph) -> Tensor:
        """Where every connection is of length 1."""
        return self._once("betweenness", lambda: self._between(graph, weighted=False))

    def weighted_betweenness(self, graph: LayeredGraph) -> Tensor:
        """Where a connection is the shorter the stronger; those of weight 0 do not count."""
        return self._once("weighted", lambda: self._between(_positive(graph), weighted=True))

    def clustering(self, graph: LayeredGraph) -> Clustering | Unavailable:
        """Squares and triangles."""
        if (refusal := self._refusal(graph)) is not None:
            return refusal
        return self._once("clustering", lambda: clustering(graph))

    def squares(self, graph: LayeredGraph) -> Tensor | Unavailable:
        """Of each unit."""
        found = self.clustering(graph)
        return found if isinstance(found, Unavailable) else found.square

    def motifs(self, graph: LayeredGraph) -> Motifs | Unavailable:
        """Their counts."""
        if (refusal := self._refusal(graph)) is not None:
            return refusal
        return self._once("motifs", lambda: motifs(graph))

    def communities(self, graph: LayeredGraph) -> Communities:
        """Of weights relative to their layer's largest."""
        seed = self._context.seed
        return self._once("communities", lambda: communities(graph.relative(), seed=seed))

    def removal(self, graph: LayeredGraph) -> dict[str, Dismantling]:
        """At random, and the most connected first."""
        generator = torch.Generator().manual_seed(self._context.seed)
        found = self.degrees(graph)
        targeted = torch.argsort(found.fan_in + found.fan_out, descending=True, stable=True)
        random = torch.randperm(graph.vertices, generator=generator)
        return {"random": dismantling(graph, random), "targeted": dismantling(graph, targeted)}

    def nulls(self, graph: LayeredGraph) -> _Nulls:
        """Modularity and motifs beside those of rewired graphs."""
        return self._once("nulls", lambda: self._compared(graph))

    def _compared(self, graph: LayeredGraph) -> _Nulls:
        seed = self._context.seed
        work = float(self._analyzer.null_samples * _STEPS_PER_EDGE * graph.edges)
        if work > self._analyzer.max_work:
            refusal = Unavailable(
                f"{self._analyzer.null_samples} rewired networks take about {work:.0e} steps, above"
                f" max_work={self._analyzer.max_work:.0e}"
            )
            return _Nulls(refusal, refusal, refusal)
        random = nulls(graph.relative(), self._analyzer.null_samples, seed)
        found = [communities(null, seed=seed).modularity for null in random]
        own = self.communities(graph).modularity
        known = [value for value in found if not isinstance(value, Unavailable)]
        modularity = own if isinstance(own, Unavailable) else beside(own, known)
        counts = self.motifs(graph)
        if isinstance(counts, Unavailable):
            return _Nulls(modularity, counts, counts)
        # Where every connection exists that can, rewiring changes no count.
        fixed = all(rigid(block) for block in graph.blocks)
        others = [counts if fixed else motifs(null) for null in random]
        bifans = beside(float(counts.bifans), [float(other.bifans) for other in others])
        loops: AgainstNull | Unavailable = Unavailable(
            "feed-forward loops cannot exist without skip connections"
        )
        if not graph.is_chain:
            loops = beside(
                float(counts.feed_forward_loops),
                [float(other.feed_forward_loops) for other in others],
            )
        return _Nulls(modularity, bifans, loops)

    def _between(self, graph: LayeredGraph, *, weighted: bool) -> Tensor:
        lengths = 1 / graph.relative().weights if weighted else None
        exact = graph.vertices * graph.edges <= self._analyzer.max_work
        if not weighted and not exact and cugraph().available:
            found = by_networkx("betweenness_centrality", graph)
            return torch.tensor([found[v] for v in range(graph.vertices)], dtype=torch.float64)
        sources = None
        if not exact:
            generator = torch.Generator().manual_seed(self._context.seed)
            sources = torch.randperm(graph.vertices, generator=generator)[:PIVOTS]
        device = torch.device(self._context.device)
        there = device if device.type != "cuda" or torch_on_cuda().available else "cpu"
        return betweenness(graph, lengths=lengths, sources=sources, device=there)

    def _hidden(self, graph: LayeredGraph) -> dict[str, Tensor] | Unavailable:
        """The path shares of the layers that are neither inputs nor outputs."""
        shares = self.shares(graph)
        if isinstance(shares, Unavailable):
            return shares
        ends = graph.by_layer(graph.inputs | graph.outputs)
        return {n: s for n, s in graph.by_layer(shares).items() if not bool(ends[n].any())}

    def _refusal(self, graph: LayeredGraph) -> Unavailable | None:
        found = self.degrees(graph)
        work = float((found.fan_in + found.fan_out).double().square().sum())
        if work <= self._analyzer.max_work:
            return None
        return Unavailable(
            f"counting takes about {work:.0e} steps, above max_work={self._analyzer.max_work:.0e}"
        )

    def _graph(self) -> _Graph:
        return self._once("graph", lambda: linked(self._context))

    def _once(self, name: str, compute: Callable[[], T]) -> T:
        if name not in self._known:
            self._known[name] = self._context.recall(self._analyzer, None, compute, name=name)
        value: T = self._known[name]
        return value


def _positive(graph: LayeredGraph) -> LayeredGraph:
    kept = graph.weights > 0
    return graph.with_edges(graph.tails[kept], graph.heads[kept], graph.weights[kept])


def _component_sizes(graph: LayeredGraph) -> tuple[int, ...]:
    return tuple(torch.bincount(components(graph)).tolist())
