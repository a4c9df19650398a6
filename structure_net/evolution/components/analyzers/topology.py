"""The topology of weights and of activations, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal, TypedDict
from zlib import crc32

import torch
from torch import Tensor

from structure_net.evolution.components.analyzers.looking import linked, probed
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.interfaces import Analyzer
from structure_net.evolution.metrics.chains import whole_chain
from structure_net.evolution.metrics.cloud_nulls import CloudNull, shuffled_clouds
from structure_net.evolution.metrics.clouds import (
    PersistenceDiagrams,
    betti_curve,
    common_scales,
    euclidean_distances,
    geodesic_distances,
    persistence_diagrams,
    total_persistence,
)
from structure_net.evolution.metrics.connections import LayerConnections, layer_connections
from structure_net.evolution.metrics.forests import Forest
from structure_net.evolution.metrics.matchings import bottleneck_distance, wasserstein_distance
from structure_net.evolution.metrics.persistence import (
    NeuralPersistence,
    NullComparison,
    ShuffledPersistence,
    deep_graph_persistence,
    neural_persistence,
    shuffled_persistence,
)
from structure_net.evolution.metrics.validity import Unavailable
from structure_net.evolution.observation import Need

Metric = Literal["euclidean", "geodesic"]
Diagrams = Mapping[str, PersistenceDiagrams | Unavailable]


@dataclass(frozen=True, slots=True, eq=False)
class BettiCurve:
    """How many holes a cloud has at each scale.

    Args:
        scales: From 0 to the cloud's diameter. Shape ``(m,)``.
        counts: By dimension. Shape ``(m,)`` each, int64.
    """

    scales: Tensor
    counts: Mapping[int, Tensor]


@dataclass(frozen=True, slots=True)
class DiagramShift:
    """How far a layer's diagrams moved since an earlier iteration.

    Args:
        since: The iteration.
        bottleneck: By dimension; see `metrics.bottleneck_distance`.
        wasserstein: By dimension, of order 1; see `metrics.wasserstein_distance`.
    """

    since: int
    bottleneck: Mapping[int, float | Unavailable]
    wasserstein: Mapping[int, float | Unavailable]


class TopologyAnalysis(TypedDict):
    """What `TopologicalAnalyzer` reports, by layer unless it says otherwise.

    ``topology_persistence``: the neural persistence of each layer's weights, over the largest
    weight of all layers; of a convolution, of the norms of its kernels. ``topology_null``: its
    published normalisation (``per_vertex``) beside that of the same weights shuffled over the same
    connections, with ``excess`` and ``z``. ``topology_network``: the mean over the layers, as
    published, beside the mean of the shuffled ones. ``topology_deep_persistence``: of the
    standardised weights of the whole network, inputs against outputs.

    ``topology_diagrams``: of the clouds of activations. ``topology_cloud_null``: the longest bars
    of the same clouds with each unit's values shuffled over the samples.
    ``topology_betti_curves``: the clouds' holes by scale. ``topology_total_persistence``: by
    dimension, the sum of the lengths of the bars that end, over the cloud's diameter.
    ``topology_shift``: how far the diagrams are from those of the last iteration before that was
    looked at; a resumed run begins without one, so that no decision should hang on it.

    ``topology_ranking``: where to prune or rewire first: ``-z``, in deviations of the shuffled
    weights. A layer whose weights stand no better than in random places has the least to lose;
    where to widen, neural persistence does not tell better than chance.
    """

    topology_persistence: Mapping[str, NeuralPersistence | Unavailable]
    topology_null: Mapping[str, NullComparison | Unavailable]
    topology_network: NullComparison | Unavailable
    topology_deep_persistence: NeuralPersistence | Unavailable
    topology_diagrams: Diagrams
    topology_cloud_null: Mapping[str, CloudNull | Unavailable]
    topology_betti_curves: Mapping[str, BettiCurve | Unavailable]
    topology_total_persistence: Mapping[str, Mapping[int, float] | Unavailable]
    topology_shift: Mapping[str, DiagramShift | Unavailable]
    topology_ranking: Mapping[str, float]


class TopologicalAnalyzer(Analyzer):
    """Measures how weights hang together, and what shape the activations of each layer have.

    Args:
        max_batches: How many batches the clouds are drawn from.
        probe_size: Points of a cloud. The time grows with its cube; diagrams of other sizes do not
            compare.
        dimension: The largest dimension of holes: 1 for loops, 2 for voids as well.
        metric: "euclidean", or "geodesic": along the graph of nearest neighbours.
        neighbours: How many neighbours that graph joins each point with.
        shuffles: How often weights are shuffled for the null.

    Raises:
        ValueError: An argument is out of range.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.PROBE_VALUES})
    provides: ClassVar[frozenset[str]] = frozenset(TopologyAnalysis.__annotations__)

    def __init__(
        self,
        max_batches: int = 10,
        probe_size: int = 200,
        *,
        dimension: int = 1,
        metric: Metric = "euclidean",
        neighbours: int = 10,
        shuffles: int = 50,
    ) -> None:
        least = {"max_batches": (max_batches, 1), "probe_size": (probe_size, 3),
                 "dimension": (dimension, 0), "neighbours": (neighbours, 1),
                 "shuffles": (shuffles, 2)}  # fmt: skip
        for name, (value, bound) in least.items():
            if value < bound:
                raise ValueError(f"{name} must be {bound} or more; got {value}.")
        if metric not in ("euclidean", "geodesic"):
            raise ValueError(f"metric must be 'euclidean' or 'geodesic'; got {metric!r}.")
        self.max_batches = max_batches
        self.probe_size = probe_size
        self.dimension = dimension
        self.metric = metric
        self.neighbours = neighbours
        self.shuffles = shuffles

    def analyze(self, context: NetworkContext) -> dict[str, Any]:
        """See `TopologyAnalysis`; all of it is computed when it is first read.

        Raises:
            StructureNetError: The context carries no observation with a probe.
        """
        return {**self._of_weights(context), **self._of_clouds(context)}

    def _of_weights(self, context: NetworkContext) -> dict[str, Any]:
        edges = context.lazy(lambda: layer_connections(context.network))
        found = context.lazy(lambda: self._persistence(context, edges.get()))
        null = context.lazy(lambda: self._null(context, edges.get(), found.get()))
        return {
            "topology_persistence": found,
            "topology_null": null,
            "topology_network": context.lazy(lambda: _network(null.get())),
            "topology_deep_persistence": context.lazy(
                lambda: context.recall(self, None, lambda: _deep(context), name="deep")
            ),
            "topology_ranking": context.lazy(lambda: _ranking(null.get())),
        }

    def _of_clouds(self, context: NetworkContext) -> dict[str, Any]:
        probe = probed(context, self)
        clouds: dict[str, Tensor | Unavailable] = {
            **probe.values,
            **{layer: Unavailable(reason) for layer, reason in probe.absent.items()},
        }
        earlier = self._exchange(context, clouds)
        found = context.lazy(lambda: self._diagrams(context, clouds))
        return {
            "topology_diagrams": found,
            "topology_cloud_null": context.lazy(lambda: self._cloud_nulls(context, clouds)),
            "topology_betti_curves": context.lazy(lambda: _each(found.get(), _curve)),
            "topology_total_persistence": context.lazy(lambda: _each(found.get(), _totals)),
            "topology_shift": context.lazy(lambda: self._shifts(found.get(), earlier)),
        }

    def _persistence(
        self, context: NetworkContext, edges: Mapping[str, LayerConnections]
    ) -> dict[str, NeuralPersistence | Unavailable]:
        scale = max((layer.largest for layer in edges.values()), default=0.0)
        memory = context.memory
        forests: dict[str, Forest] = (
            {} if memory is None else memory.notes(type(self).__name__).setdefault("forests", {})
        )
        result: dict[str, NeuralPersistence | Unavailable] = {}
        for name, layer in edges.items():
            compute = partial(
                neural_persistence, layer.weights, pattern=layer.pattern, start=forests.get(name)
            )
            own = context.recall(self, name, compute, name="persistence")
            if isinstance(own, NeuralPersistence):
                if own.forest is not None:
                    forests[name] = own.forest
                own = replace(own.rescaled(layer.largest / scale), forest=None)
            result[name] = own
        return result

    def _null(
        self,
        context: NetworkContext,
        edges: Mapping[str, LayerConnections],
        found: Mapping[str, NeuralPersistence | Unavailable],
    ) -> dict[str, NullComparison | Unavailable]:
        scale = max((layer.largest for layer in edges.values()), default=0.0)
        result: dict[str, NullComparison | Unavailable] = {}
        for name, layer in edges.items():
            measured = found[name]
            # Layers of one shape must not share their shuffles, or their mean would vary too much.
            draw = partial(self._shuffled, layer, context.seed + crc32(name.encode()))
            shuffled = context.recall(self, name, draw, name="shuffled")
            if isinstance(measured, Unavailable):
                result[name] = measured
            elif isinstance(shuffled, Unavailable):
                result[name] = shuffled
            else:
                random = shuffled.rescaled(layer.largest / scale).per_vertex()
                result[name] = NullComparison(measured.per_vertex(), random)
        return result

    def _shuffled(self, layer: LayerConnections, seed: int) -> ShuffledPersistence | Unavailable:
        return shuffled_persistence(
            layer.weights, pattern=layer.pattern, samples=self.shuffles, seed=seed
        )

    def _diagrams(
        self, context: NetworkContext, clouds: Mapping[str, Tensor | Unavailable]
    ) -> dict[str, PersistenceDiagrams | Unavailable]:
        return {
            name: context.recall(
                self, name, partial(self._diagram, cloud), name="diagrams", reads="activations"
            )
            for name, cloud in clouds.items()
        }

    def _diagram(self, cloud: Tensor | Unavailable) -> PersistenceDiagrams | Unavailable:
        if isinstance(cloud, Unavailable):
            return cloud
        distances = euclidean_distances(cloud)
        if self.metric == "geodesic":
            along = geodesic_distances(distances, self.neighbours)
            if isinstance(along, Unavailable):
                return along
            distances = along
        return persistence_diagrams(distances, dimension=self.dimension)

    def _cloud_nulls(
        self, context: NetworkContext, clouds: Mapping[str, Tensor | Unavailable]
    ) -> dict[str, CloudNull | Unavailable]:
        found: dict[str, CloudNull | Unavailable] = {}
        for name, cloud in clouds.items():
            if isinstance(cloud, Unavailable):
                found[name] = cloud
                continue
            draw = partial(
                shuffled_clouds,
                cloud,
                seed=context.seed + crc32(name.encode()),
                diagrams=self._diagram,
            )
            found[name] = context.recall(self, name, draw, name="cloud null", reads="activations")
        return found

    def _exchange(
        self, context: NetworkContext, clouds: Mapping[str, Tensor | Unavailable]
    ) -> tuple[int, Mapping[str, Tensor | Unavailable]] | None:
        """Notes the clouds of this iteration; returns those of the last one before it."""
        if context.memory is None:
            return None
        key = (self.probe_size, self.metric, self.neighbours, self.dimension)
        notes = context.memory.notes(type(self).__name__).setdefault(key, {})
        notes[context.iteration] = clouds
        before = max((one for one in notes if one < context.iteration), default=None)
        for iteration in [one for one in notes if before is not None and one < before]:
            del notes[iteration]
        return None if before is None else (before, notes[before])

    def _shifts(
        self, found: Diagrams, earlier: tuple[int, Mapping[str, Tensor | Unavailable]] | None
    ) -> dict[str, DiagramShift | Unavailable]:
        if earlier is None:
            first = Unavailable("no earlier iteration was looked at")
            return dict.fromkeys(found, first)
        since, clouds = earlier
        result: dict[str, DiagramShift | Unavailable] = {}
        for name, now in found.items():
            if name not in clouds:
                result[name] = Unavailable(f"the layer was not there in iteration {since}")
                continue
            result[name] = _shift(since, self._diagram(clouds[name]), now)
        return result


def _network(null: Mapping[str, NullComparison | Unavailable]) -> NullComparison | Unavailable:
    measured = [one for one in null.values() if isinstance(one, NullComparison)]
    if not measured:
        return Unavailable("no layer has weights")
    value = sum(one.value for one in measured) / len(measured)
    return NullComparison(value, torch.stack([one.shuffled for one in measured]).mean(0))


def _deep(context: NetworkContext) -> NeuralPersistence | Unavailable:
    graph = linked(context)
    if isinstance(graph, Unavailable):
        return graph
    chain = whole_chain(context.network, graph)
    if isinstance(chain, Unavailable):
        return chain
    found = deep_graph_persistence(chain.weights)
    return found if isinstance(found, Unavailable) else replace(found, forest=None)


def _ranking(null: Mapping[str, NullComparison | Unavailable]) -> dict[str, float]:
    scores = {
        name: -one.z
        for name, one in null.items()
        if isinstance(one, NullComparison) and not isinstance(one.z, Unavailable)
    }
    return dict(sorted(scores.items(), key=lambda item: -item[1]))


def _each(found: Diagrams, measure: Any) -> dict[str, Any]:
    return {name: measure(one) if one else one for name, one in found.items()}


def _curve(found: PersistenceDiagrams) -> BettiCurve:
    scales = common_scales([found])
    return BettiCurve(scales, {k: betti_curve(bars, scales) for k, bars in found.pairs.items()})


def _totals(found: PersistenceDiagrams) -> dict[int, float]:
    return {k: total_persistence(bars) / found.diameter for k, bars in found.pairs.items()}


def _shift(
    since: int, before: PersistenceDiagrams | Unavailable, now: PersistenceDiagrams | Unavailable
) -> DiagramShift | Unavailable:
    for one in (before, now):
        if isinstance(one, Unavailable):
            return one
    assert isinstance(before, PersistenceDiagrams)
    assert isinstance(now, PersistenceDiagrams)
    if before.points != now.points:
        return Unavailable(f"the clouds have {before.points} and {now.points} points")
    pairs = {k: (before.pairs[k], bars) for k, bars in now.pairs.items()}
    return DiagramShift(
        since,
        {k: bottleneck_distance(*both) for k, both in pairs.items()},
        {k: wasserstein_distance(*both) for k, both in pairs.items()},
    )
