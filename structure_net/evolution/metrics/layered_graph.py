"""The layered graph of a network: units as vertices, connections as edges, layers in order.

Every measure of this package's graph modules takes a `LayeredGraph` and returns tensors over its
vertices. Edges run from an earlier layer to a later one, not only to the next one, so that skip
connections are edges like all others and the graph has no cycle. `layered_graph_of` makes one
from any model; `LayeredGraph.chain` makes one from matrices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

Matrices = Mapping[tuple[int, int], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The edges from one layer to another.

    Args:
        source: The index of the earlier layer.
        target: The index of the later one.
        tails: The unit of the earlier layer that each edge leaves. Shape ``(e,)``, int64.
        heads: The unit of the later layer that it enters. Shape ``(e,)``, int64.
        weights: Its weight. Shape ``(e,)``, float64.
        shape: The sizes of the earlier and of the later layer.
        edges: The edges' indices in the graph. Shape ``(e,)``, int64.
    """

    source: int
    target: int
    tails: Tensor
    heads: Tensor
    weights: Tensor
    shape: tuple[int, int]
    edges: Tensor

    def matrix(self, values: Tensor | None = None) -> Tensor:
        """The block as a matrix, 0 where there is no edge. Shape ``(earlier, later)``, float64.

        Args:
            values: One value per edge; 1 each if None. Shape ``(e,)``.
        """
        out = torch.zeros(self.shape, dtype=torch.float64)
        out[self.tails, self.heads] = 1.0 if values is None else values.double()
        return out


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Neighbours of each vertex, one after the other (compressed sparse rows).

    Args:
        starts: Where each vertex's neighbours begin; the last entry is their number. Shape
            ``(V + 1,)``, int64.
        neighbours: Shape ``(e,)``, int64.
        weights: Shape ``(e,)``, float64.
    """

    starts: np.ndarray[Any, np.dtype[np.int64]]
    neighbours: np.ndarray[Any, np.dtype[np.int64]]
    weights: np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)
class LayeredGraph:
    """Units and connections of a network with ``V`` units and ``E`` connections.

    Vertices are numbered layer by layer, in the order of ``layers``.

    Args:
        layers: The names of the layers; an edge leaves an earlier layer than it enters.
        sizes: The number of units of each layer.
        tails: The vertex that each edge leaves. Shape ``(E,)``, int64.
        heads: The vertex that it enters; edges are sorted by tail, then by head. Shape ``(E,)``.
        weights: How strong it is, 0 or more. Shape ``(E,)``, float64.
        inputs: Where paths through the network begin. Shape ``(V,)``, bool.
        outputs: Where they end. Shape ``(V,)``, bool.
        unlinked: What the graph leaves out: a layer (or ``'a' -> 'b'``) with the reason.

    Raises:
        ValueError: Shapes do not agree, edges are not sorted or not distinct, one does not lead to
            a later layer, or a weight is negative or not finite.
    """

    layers: tuple[str, ...]
    sizes: tuple[int, ...]
    tails: Tensor
    heads: Tensor
    weights: Tensor
    inputs: Tensor
    outputs: Tensor
    unlinked: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self)

    @classmethod
    def of_blocks(
        cls, sizes: Sequence[int], matrices: Matrices, *, layers: Sequence[str] | None = None
    ) -> Self:
        """The graph whose edges are the entries of matrices that are not 0.

        Paths begin in the first layer and end in the last one.

        Args:
            sizes: The number of units of each layer.
            matrices: By (earlier layer, later layer), shape ``(earlier size, later size)``; the
                weight of an edge is the entry's magnitude.
            layers: The names of the layers; their indices if None.

        Raises:
            ValueError: See the class.
        """
        starts = list(accumulate(sizes, initial=0))
        none = torch.empty(0, dtype=torch.int64)
        tails, heads, weights = [none], [none], [none.double()]
        for (source, target), matrix in matrices.items():
            if tuple(matrix.shape) != (sizes[source], sizes[target]):
                raise ValueError(
                    f"The block from layer {source} to {target} must have shape"
                    f" {(sizes[source], sizes[target])}; got {tuple(matrix.shape)}."
                )
            values = matrix.detach().to("cpu", torch.float64).abs()
            rows, columns = values.nonzero(as_tuple=True)
            tails.append(rows + starts[source])
            heads.append(columns + starts[target])
            weights.append(values[rows, columns])
        tail, head = torch.cat(tails), torch.cat(heads)
        order = torch.argsort(tail * starts[-1] + head)
        return cls(
            tuple(map(str, range(len(sizes)))) if layers is None else tuple(layers),
            tuple(sizes),
            tail[order],
            head[order],
            torch.cat(weights)[order],
            _ends(starts, 0),
            _ends(starts, len(sizes) - 1),
        )

    @classmethod
    def chain(cls, weights: Sequence[Tensor]) -> Self:
        """The graph of layers that follow each other.

        Args:
            weights: The matrices as `torch.nn.Linear` holds them, shape ``(outputs, inputs)`` each.

        Raises:
            ValueError: There is none, or one does not fit the next.
        """
        if not weights:
            raise ValueError("A chain needs at least one matrix; got none.")
        sizes = [weights[0].shape[1], *(weight.shape[0] for weight in weights)]
        return cls.of_blocks(sizes, {(i, i + 1): weight.T for i, weight in enumerate(weights)})

    @property
    def vertices(self) -> int:
        """``V``."""
        return sum(self.sizes)

    @property
    def edges(self) -> int:
        """``E``."""
        return len(self.tails)

    @property
    def starts(self) -> tuple[int, ...]:
        """The first vertex of each layer, and ``V``."""
        return tuple(accumulate(self.sizes, initial=0))

    @cached_property
    def depth(self) -> Tensor:
        """The index of each vertex's layer. Shape ``(V,)``, int64."""
        return torch.repeat_interleave(torch.arange(len(self.sizes)), torch.tensor(self.sizes))

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The edges by pair of layers, sorted by the later layer, then by the earlier one."""
        source, target = self.depth[self.tails], self.depth[self.heads]
        keys = target * len(self.sizes) + source
        order = torch.argsort(keys, stable=True)
        found, counts = keys[order].unique_consecutive(return_counts=True)
        starts = self.starts
        out = []
        for key, index in zip(found.tolist(), order.split(counts.tolist()), strict=True):
            later, earlier = divmod(key, len(self.sizes))
            out.append(
                Block(
                    earlier,
                    later,
                    self.tails[index] - starts[earlier],
                    self.heads[index] - starts[later],
                    self.weights[index],
                    (self.sizes[earlier], self.sizes[later]),
                    index,
                )
            )
        return tuple(out)

    @property
    def is_chain(self) -> bool:
        """Whether every edge leads to the next layer."""
        return bool((self.depth[self.heads] - self.depth[self.tails] == 1).all())

    @cached_property
    def outgoing(self) -> Rows:
        """For each vertex, the vertices that it feeds."""
        return _rows(self.vertices, self.tails, self.heads, self.weights)

    @cached_property
    def incoming(self) -> Rows:
        """For each vertex, the vertices that feed it, in ascending order."""
        from scipy.sparse import csr_array

        edges = np.arange(self.edges), self.outgoing.neighbours, self.outgoing.starts
        by_head = csr_array(edges, shape=(self.vertices, self.vertices)).tocsc()
        order = by_head.data
        return Rows(
            by_head.indptr.astype(np.int64),
            by_head.indices.astype(np.int64),
            self.outgoing.weights[order],
        )

    @cached_property
    def undirected(self) -> Rows:
        """For each vertex, its neighbours in both directions, in ascending order."""
        # Vertices that feed a vertex come before it, those that it feeds behind it.
        back, forth = self.incoming, self.outgoing
        edge = np.arange(self.edges)
        there = edge + np.repeat(forth.starts[:-1], np.diff(back.starts))
        here = edge + np.repeat(back.starts[1:], np.diff(forth.starts))
        neighbours = np.empty(2 * self.edges, dtype=np.int64)
        weights = np.empty(2 * self.edges)
        neighbours[there], neighbours[here] = back.neighbours, forth.neighbours
        weights[there], weights[here] = back.weights, forth.weights
        return Rows(back.starts + forth.starts, neighbours, weights)

    def by_layer(self, values: Tensor) -> dict[str, Tensor]:
        """``values``, one per vertex, by layer."""
        parts = values.split(list(self.sizes))
        return dict(zip(self.layers, parts, strict=True))

    def with_edges(self, tails: Tensor, heads: Tensor, weights: Tensor) -> LayeredGraph:
        """The same units with other edges, in any order.

        Raises:
            ValueError: See the class.
        """
        order = torch.argsort(tails * self.vertices + heads)
        return replace(self, tails=tails[order], heads=heads[order], weights=weights[order])

    def relative(self) -> LayeredGraph:
        """The same graph with each weight over the largest that enters the same layer.

        It makes layers comparable whose weights are of different scale.
        """
        largest = torch.zeros(len(self.sizes), dtype=torch.float64)
        target = self.depth[self.heads]
        largest.scatter_reduce_(0, target, self.weights, "amax")
        scale = largest[target]
        return replace(self, weights=torch.where(scale > 0, self.weights / scale, 0.0))

    def __repr__(self) -> str:
        return f"LayeredGraph(sizes={self.sizes}, edges={self.edges})"


def _ends(starts: Sequence[int], layer: int) -> Tensor:
    out = torch.zeros(starts[-1], dtype=torch.bool)
    out[starts[layer] : starts[layer + 1]] = True
    return out


def _rows(vertices: int, tails: Tensor, heads: Tensor, weights: Tensor) -> Rows:
    starts = np.zeros(vertices + 1, dtype=np.int64)
    np.cumsum(np.bincount(tails.numpy(), minlength=vertices), out=starts[1:])
    return Rows(
        starts,
        np.ascontiguousarray(heads.numpy(), dtype=np.int64),
        np.ascontiguousarray(weights.numpy(), dtype=np.float64),
    )


def _check(graph: LayeredGraph) -> None:
    if len(graph.layers) != len(graph.sizes) or not graph.sizes or min(graph.sizes) < 1:
        raise ValueError(
            "A layered graph needs layers of at least one unit, and a name for each; got"
            f" {len(graph.layers)} names and sizes {graph.sizes}."
        )
    if len(set(graph.layers)) != len(graph.layers):
        raise ValueError(f"The names of layers must be distinct; got {graph.layers}.")
    for name, ends in (("inputs", graph.inputs), ("outputs", graph.outputs)):
        if ends.dtype != torch.bool or tuple(ends.shape) != (graph.vertices,):
            raise ValueError(
                f"{name} must be bool of shape ({graph.vertices},); got {ends.dtype},"
                f" {tuple(ends.shape)}."
            )
    _check_edges(graph)


def _check_edges(graph: LayeredGraph) -> None:
    tails, heads, weights = graph.tails, graph.heads, graph.weights
    if not tails.shape == heads.shape == weights.shape or tails.dim() != 1:
        raise ValueError(
            "tails, heads and weights must be vectors of one length; got"
            f" {tuple(tails.shape)}, {tuple(heads.shape)} and {tuple(weights.shape)}."
        )
    if not tails.numel():
        return
    if int(tails.min()) < 0 or int(heads.max()) >= graph.vertices:
        raise ValueError(f"Edges must join vertices below {graph.vertices}.")
    if not bool((graph.depth[tails] < graph.depth[heads]).all()):
        raise ValueError("Every edge must lead from an earlier layer to a later one.")
    keys = tails * graph.vertices + heads
    if not bool((keys[1:] > keys[:-1]).all()):
        raise ValueError("Edges must be distinct and sorted by tail, then by head.")
    if not bool((weights >= 0).all() & torch.isfinite(weights).all()):
        raise ValueError("Weights of edges must be finite and 0 or more.")
