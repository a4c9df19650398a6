"""Maximum spanning forests of weighted bipartite graphs: what 0-dimensional persistence counts.

A layer with ``outputs`` rows and ``inputs`` columns is a bipartite graph: vertex ``r`` is output
``r``, vertex ``outputs + c`` is input ``c``. The weights at which components merge, largest first,
are the weights of a maximum spanning forest; which forest it is may depend on ties, its weights do
not.

Two engines give the same weights. Kruskal's looks at the largest edges only: let ``t`` be the
smallest, over all vertices, of the largest weight at the vertex. No forest can do without an edge
of weight ``t``, and in a random matrix the edges from ``t`` up span nearly always. Where too many
edges lie above ``t`` (a unit of small weights pulls it down), or they do not span, Prim's looks at
every edge once and sorts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from structure_net.core.compiling import compiled

Shape = tuple[int, int]
Engine = Literal["auto", "kruskal", "prim"]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64] | npt.NDArray[np.float32]

_FEW: Final = 0.15
"""Sorting this fraction of the edges costs as much as Prim's pass over all of them."""

_SLIM: Final = 32
"""Where the square of the number of units is so many times the edges, sorting all costs less."""


@compiled("int64(int64[::1], int64)")
def find(parent: Integers, vertex: int) -> int:
    """The root of ``vertex``, halving its path."""
    while parent[vertex] != vertex:
        parent[vertex] = parent[parent[vertex]]
        vertex = parent[vertex]
    return vertex


@compiled("int64[::1](int64[::1], int64[::1], int64)")
def kruskal(tails: Integers, heads: Integers, vertices: int) -> Integers:
    """The positions of the edges that join two components, taking edges in the given order.

    Args:
        tails: A vertex of each edge. Shape ``(edges,)``, int64.
        heads: The other one. Shape ``(edges,)``, int64.
        vertices: The number of vertices.

    Returns:
        Shape ``(vertices - components,)``, increasing.
    """
    parent = np.arange(vertices)
    kept = np.empty(max(vertices - 1, 0), np.int64)
    count = 0
    for edge in range(len(tails)):
        if count == vertices - 1:
            break
        tail = find(parent, tails[edge])
        head = find(parent, heads[edge])
        if tail != head:
            parent[max(tail, head)] = min(tail, head)
            kept[count] = edge
            count += 1
    return kept[:count].copy()


@compiled("int64[::1](float64[:, ::1])", "int64[::1](float32[:, ::1])")
def prim(weights: Floats) -> Integers:
    """The edges of a maximum spanning tree of the complete bipartite graph.

    Args:
        weights: Shape ``(outputs, inputs)``, non-negative.

    Returns:
        The edges as flat indices. Shape ``(outputs + inputs - 1,)``.
    """
    outputs, inputs = weights.shape
    vertices = outputs + inputs
    best = np.full(vertices, -1.0)
    partner = np.zeros(vertices, np.int64)
    done = np.zeros(vertices, np.bool_)
    edges = np.empty(vertices - 1, np.int64)
    current = 0
    for step in range(vertices):
        done[current] = True
        if step:
            other = partner[current]
            row = min(current, other)
            edges[step - 1] = row * inputs + max(current, other) - outputs
        if current < outputs:
            for column in range(inputs):
                vertex = outputs + column
                if not done[vertex] and weights[current, column] > best[vertex]:
                    best[vertex] = weights[current, column]
                    partner[vertex] = current
        else:
            for row in range(outputs):
                if not done[row] and weights[row, current - outputs] > best[row]:
                    best[row] = weights[row, current - outputs]
                    partner[row] = current
        largest = -2.0
        for vertex in range(vertices):
            if not done[vertex] and best[vertex] > largest:
                largest = best[vertex]
                current = vertex
    return edges


@compiled("int64[::1](int64[::1], int64[::1], int64[::1], int64, int64)")
def merge_ranks(
    draws: Integers, tails: Integers, heads: Integers, vertices: int, merges: int
) -> Integers:
    """The ranks, among the distinct edges of ``draws``, of those that join two components.

    Args:
        draws: Edges, with repetitions. int64.
        tails: A vertex of each edge. Shape ``(edges,)``, int64.
        heads: The other one. Shape ``(edges,)``, int64.
        vertices: The number of vertices.
        merges: How many joins there are when all edges are taken.

    Returns:
        Increasing; shape ``(merges,)`` if the draws suffice, shorter otherwise.
    """
    parent = np.arange(vertices)
    seen = np.zeros(len(tails), np.bool_)
    ranks = np.empty(merges, np.int64)
    rank = 0
    count = 0
    for edge in draws:
        if count == merges:
            break
        if seen[edge]:
            continue
        seen[edge] = True
        tail = find(parent, tails[edge])
        head = find(parent, heads[edge])
        if tail != head:
            parent[max(tail, head)] = min(tail, head)
            ranks[count] = rank
            count += 1
        rank += 1
    return ranks[:count].copy()


@compiled("int64[::1](int64[::1], int64, int64)")
def dense_merge_ranks(draws: Integers, outputs: int, inputs: int) -> Integers:
    """`merge_ranks` of the complete bipartite graph, whose edges need not be looked up.

    Args:
        draws: Edges as flat indices, with repetitions. int64.
        outputs: The number of rows.
        inputs: The number of columns.

    Returns:
        Increasing; shape ``(outputs + inputs - 1,)`` if the draws suffice, shorter otherwise.
    """
    parent = np.arange(outputs + inputs)
    seen = np.zeros(outputs * inputs, np.bool_)
    ranks = np.empty(outputs + inputs - 1, np.int64)
    rank = 0
    count = 0
    for edge in draws:
        if count == len(ranks):
            break
        if seen[edge]:
            continue
        seen[edge] = True
        row = edge // inputs
        tail = find(parent, row)
        head = find(parent, outputs + edge - row * inputs)
        if tail != head:
            parent[max(tail, head)] = min(tail, head)
            ranks[count] = rank
            count += 1
        rank += 1
    return ranks[:count].copy()


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """A maximum spanning forest.

    Args:
        rows: The output of each edge. Shape ``(n,)``, int64.
        columns: Its input. Shape ``(n,)``, int64.
        weights: Its weight, descending. Shape ``(n,)``, float64.
        shape: The numbers of outputs and of inputs.
    """

    rows: Integers
    columns: Integers
    weights: npt.NDArray[np.float64]
    shape: Shape

    @property
    def vertices(self) -> int:
        """Outputs and inputs."""
        return sum(self.shape)

    @property
    def components(self) -> int:
        """Trees, units without any edge included."""
        return self.vertices - len(self.weights)


def dense_forest(
    weights: Floats, *, start: Forest | None = None, engine: Engine = "auto"
) -> Forest:
    """A maximum spanning tree of a complete bipartite graph.

    Args:
        weights: Shape ``(outputs, inputs)``, in rows (C order), non-negative; zeros are edges, too.
        start: A spanning tree of earlier weights of the same shape. Its edges span today as well,
            so that the smallest of their weights today bounds from below what has to be looked at.
            The result is the same without.
        engine: "auto" takes Kruskal's where few edges have to be sorted, or where the layer has so
            few units on one side that Prim's has to choose among many on the other; else Prim's.
    """
    flat = weights.reshape(-1)
    if engine == "auto" and (leading := _leading(weights, start)) is not None:
        forest = _sorted_forest(weights, leading)
        if forest.components == 1:
            return forest
    slim = sum(weights.shape) ** 2 > _SLIM * weights.size
    if engine == "kruskal" or (engine == "auto" and slim):
        return _sorted_forest(weights, _descending(flat, np.arange(weights.size)))
    return _forest(weights, _descending(flat, prim(weights)))


def sparse_forest(rows: Integers, columns: Integers, weights: Floats, shape: Shape) -> Forest:
    """A maximum spanning forest of a bipartite graph whose edges are listed.

    Args:
        rows: The output of each edge. Shape ``(edges,)``, int64.
        columns: Its input. Shape ``(edges,)``, int64.
        weights: Non-negative; zeros are edges, too. Shape ``(edges,)``.
        shape: The numbers of outputs and of inputs.
    """
    order = np.argsort(-weights, kind="stable")
    kept = order[kruskal(rows[order], columns[order] + shape[0], sum(shape))]
    return Forest(rows[kept], columns[kept], weights[kept].astype(np.float64), shape)


def grown_forest(
    forest: Forest, rows: Integers, columns: Integers, weights: Floats, shape: Shape
) -> Forest:
    r"""The forest after edges and units were added and no weight was changed.

    A maximum spanning forest of :math:`G \cup E` lies in that of :math:`G` together with
    :math:`E`, so that only these are looked at.

    Args:
        forest: That of :math:`G`.
        rows: The output of each edge of :math:`E`. Shape ``(edges,)``, int64.
        columns: Its input. Shape ``(edges,)``, int64.
        weights: Its weight. Shape ``(edges,)``.
        shape: The numbers of outputs and inputs with the new ones, which come last.

    Raises:
        ValueError: There are fewer units than before.
    """
    if shape[0] < forest.shape[0] or shape[1] < forest.shape[1]:
        raise ValueError(
            f"A forest grows with its layer; got shape {shape} after {forest.shape}. Compute it"
            " anew where units were taken away."
        )
    return sparse_forest(
        np.concatenate([forest.rows, rows]),
        np.concatenate([forest.columns, columns]),
        np.concatenate([forest.weights, weights.astype(np.float64)]),
        shape,
    )


def random_merges(
    rows: Integers, columns: Integers, shape: Shape, *, samples: int, seed: int
) -> Integers:
    """How many edges come before each merge when edges come in random order.

    With weights sorted in descending order, ``weights[ranks]`` are the weights of a maximum
    spanning forest after the weights were shuffled over the edges: a sample of the shuffled
    weights' persistence without shuffling and without sorting again.

    Args:
        rows: The output of each edge. Shape ``(edges,)``, int64.
        columns: Its input. Shape ``(edges,)``, int64.
        shape: The numbers of outputs and of inputs.
        samples: How many random orders.
        seed: What they are drawn from.

    Returns:
        Shape ``(samples, outputs + inputs - components)``, int64, increasing along rows.
    """
    heads, vertices = columns + shape[0], sum(shape)
    merges = len(kruskal(rows, heads, vertices))
    generator = np.random.default_rng(seed)

    def ranks(draws: Integers) -> Integers:
        found: Integers = merge_ranks(draws, rows, heads, vertices, merges)
        return found

    return np.stack([_drawn(generator, len(rows), vertices, merges, ranks) for _ in range(samples)])


@lru_cache(maxsize=64)
def random_dense_merges(shape: Shape, *, samples: int, seed: int) -> Integers:
    """`random_merges` of the complete bipartite graph; remembered, since shapes come back."""
    outputs, inputs = shape
    generator = np.random.default_rng(seed)

    def ranks(draws: Integers) -> Integers:
        found: Integers = dense_merge_ranks(draws, outputs, inputs)
        return found

    size, vertices = outputs * inputs, outputs + inputs
    stacked = np.stack(
        [_drawn(generator, size, vertices, vertices - 1, ranks) for _ in range(samples)]
    )
    stacked.flags.writeable = False
    return stacked


def _drawn(
    generator: np.random.Generator,
    edges: int,
    vertices: int,
    merges: int,
    ranks: Callable[[Integers], Integers],
) -> Integers:
    """The ranks of one random order, which is drawn as far as it is needed."""
    draws = _draws(generator, edges, vertices)
    while len(found := ranks(draws)) < merges:
        draws = np.concatenate([draws, generator.integers(edges, size=len(draws))])
    return found


def _draws(generator: np.random.Generator, edges: int, vertices: int) -> Integers:
    """Edges in random order; repeated where that saves shuffling all of them."""
    enough = int(1.5 * vertices * np.log(vertices + 1.0)) + 1
    if enough >= 3 * edges:
        return generator.permutation(edges)
    return generator.integers(edges, size=enough)


def _leading(weights: Floats, start: Forest | None) -> Integers | None:
    """The largest edges, descending, if few of them are likely to span."""
    flat = weights.reshape(-1)
    for floor in _floors(weights, start):
        edges = np.flatnonzero(flat >= floor)
        if len(edges) <= max(_FEW * weights.size, 4 * sum(weights.shape)):
            return _descending(flat, edges)
    return None


def _floors(weights: Floats, start: Forest | None) -> Iterator[float]:
    """Weights such that the edges from there up span surely, or nearly always."""
    if start is not None and start.shape == weights.shape:
        yield float(weights[start.rows, start.columns].min())
    yield float(min(weights.max(0).min(), weights.max(1).min()))


def _descending(flat: Floats, edges: Integers) -> Integers:
    return edges[np.argsort(-flat[edges])]


def _sorted_forest(weights: Floats, edges: Integers) -> Forest:
    """By Kruskal's algorithm, of edges that come in descending order."""
    rows, columns = np.divmod(edges, weights.shape[1])
    return _forest(weights, edges[kruskal(rows, columns + len(weights), sum(weights.shape))])


def _forest(weights: Floats, edges: Integers) -> Forest:
    rows, columns = np.divmod(edges, weights.shape[1])
    kept = weights.reshape(-1)[edges].astype(np.float64)
    return Forest(rows, columns, kept, (weights.shape[0], weights.shape[1]))
