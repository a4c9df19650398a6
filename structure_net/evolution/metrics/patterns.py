"""Small patterns of connections: squares, triangles, bi-fans, feed-forward loops.

A layered graph without skip connections has no triangle, so that the usual clustering coefficient
is 0 whatever the network; squares (two units that share two neighbours) are what clusters there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from structure_net.evolution.metrics.graph_kernels import Array, common_neighbours, directed_motifs
from structure_net.evolution.metrics.layered_graph import LayeredGraph
from structure_net.evolution.metrics.validity import Unavailable

_PRODUCTS_GAIN: Final = 8
"""How many multiplications of a matrix product take the time of one step from edge to edge."""

_ROWS: Final = 1024
"""Units that are multiplied at once, which bounds the memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Clustering:
    """How much the neighbourhoods of units overlap; the direction of connections does not count.

    Args:
        square: The fraction of possible squares at each unit that exist, 0 where none is possible;
            equals `networkx.square_clustering`. Shape ``(V,)``, float64.
        triangle: The fraction of pairs of neighbours that are connected, 0 for fewer than two
            neighbours; equals `networkx.clustering`. Shape ``(V,)``, float64.
        bipartite: Four times the squares over the paths of length 3: the probability that such a
            path is closed; equals ``networkx.bipartite.robins_alexander_clustering``, here for any
            graph. Unavailable where there is no such path.
        transitivity: Three times the triangles over the pairs of neighbours. Unavailable without
            skip connections, where triangles cannot exist.
        squares: Cycles of length 4 in the whole graph.
        triangles: Cycles of length 3 in the whole graph.

    References:
        Lind et al., "Cycles and clustering in bipartite networks", 2005. Zhang et al., "Clustering
        coefficient and community structure of bipartite networks", 2008. Robins and Alexander,
        "Small worlds among interlocking directors", 2004.
    """

    square: Tensor
    triangle: Tensor
    bipartite: float | Unavailable
    transitivity: float | Unavailable
    squares: int
    triangles: int


def clustering(graph: LayeredGraph) -> Clustering:
    """Counts squares and triangles exactly, in time proportional to the sum of squared degrees.

    Between densely connected layers matrix products count the same in less time.
    """
    rows = graph.undirected
    degree = np.diff(rows.starts)
    if _prefers_products(graph, float((degree.astype(np.float64) ** 2).sum()), both=True):
        found = _multiplied_neighbours(graph, degree)
    else:
        found = np.empty((graph.vertices, 3), dtype=np.int64)
        common_neighbours(rows.starts, rows.neighbours, found)
    squares, corners, onward = found[:, 0], found[:, 1], found[:, 2]
    pairs = degree * (degree - 1)
    possible = onward * (degree - 1) - pairs - corners - squares
    # Each path of length 3 has a middle edge; those that close to a triangle are none.
    threes = int((onward * (degree - 1)).sum() - pairs.sum()) // 2 - int(corners.sum()) // 2
    triads = int(pairs.sum())
    return Clustering(
        square=_ratio(squares, possible),
        triangle=_ratio(corners, pairs),
        bipartite=int(squares.sum()) / threes
        if threes
        else Unavailable("no path of three connections exists"),
        transitivity=_transitivity(graph, int(corners.sum()), triads),
        squares=int(squares.sum()) // 4,
        triangles=int(corners.sum()) // 6,
    )


def _transitivity(graph: LayeredGraph, corners: int, triads: int) -> float | Unavailable:
    if graph.is_chain:
        return Unavailable("triangles cannot exist without skip connections")
    return corners / triads if triads else Unavailable("no unit has two neighbours")


def _ratio(part: Array, whole: Array) -> Tensor:
    safe = np.maximum(whole, 1)
    return torch.from_numpy(np.where(whole > 0, part / safe, 0.0))


@dataclass(frozen=True, slots=True)
class Motifs:
    """Small directed subgraphs, whether or not further edges join their units.

    Args:
        bifans: Two units that both feed the same two units.
        feed_forward_loops: Three units a, b, c with edges ab, bc and ac; they need skips.

    References:
        Milo et al., "Network motifs: simple building blocks of complex networks", 2002.
    """

    bifans: int
    feed_forward_loops: int


def motifs(graph: LayeredGraph) -> Motifs:
    """Counts motifs exactly, in time proportional to the sum of squared fan-ins.

    Between densely connected layers matrix products count the same in less time. `against_null`
    tells whether the counts are more than degrees explain.
    """
    forth, back = graph.outgoing, graph.incoming
    fan_in = np.diff(back.starts).astype(np.float64)
    if _prefers_products(graph, float((fan_in**2).sum()), both=False):
        return _multiplied_motifs(graph)
    found = np.empty((graph.vertices, 2), dtype=np.int64)
    directed_motifs(forth.starts, forth.neighbours, back.starts, back.neighbours, found)
    bifans, loops = found.sum(0).tolist()
    return Motifs(bifans, loops)


def _prefers_products(graph: LayeredGraph, steps: float, *, both: bool) -> bool:
    """Whether products of whole blocks are cheaper than so many steps along edges."""
    sizes, pairs = graph.sizes, [(block.source, block.target) for block in graph.blocks]
    reads = {(a, b) for a, b in pairs} | ({(b, a) for a, b in pairs} if both else set())
    met = [
        sizes[a] * sizes[middle] * sizes[c]
        for a, middle in reads
        for c, other in reads
        if other == middle
    ]
    return sum(met) < _PRODUCTS_GAIN * steps


def _products(
    matrices: Mapping[tuple[int, int], Tensor], sizes: Sequence[int]
) -> Iterator[tuple[int, int, slice, Tensor]]:
    """The paths from the units of a layer ``a`` over one unit to those of a layer ``c``.

    Args:
        matrices: 1 where a unit of ``a`` (row) is joined with one of the layer in the middle, 0
            elsewhere. Single precision counts exactly up to 2^24, which no layer reaches.
        sizes: Of the layers.

    Yields:
        ``a``, ``c``, some rows, and the numbers of paths of these rows, float64.
    """
    for a, size in enumerate(sizes):
        over = [middle for start, middle in matrices if start == a]
        ends = sorted({c for c, middle in matrices if middle in over})
        for rows in (slice(at, min(at + _ROWS, size)) for at in range(0, size, _ROWS)):
            for c in ends:
                paths = torch.zeros(rows.stop - rows.start, sizes[c])
                for middle in over:
                    if (c, middle) in matrices:
                        paths.addmm_(matrices[a, middle][rows], matrices[c, middle].T)
                yield a, c, rows, paths.double()


def _multiplied_neighbours(graph: LayeredGraph, degree: Array) -> Array:
    """What `graph_kernels.common_neighbours` writes, by products of blocks."""
    forth = {(block.source, block.target): block.matrix().float() for block in graph.blocks}
    joined = forth | {(b, a): matrix.T for (a, b), matrix in forth.items()}
    found = torch.zeros(graph.vertices, 3, dtype=torch.float64)
    for a, c, rows, paths in _products(joined, graph.sizes):
        if a == c:
            paths[torch.arange(len(paths)), torch.arange(rows.start, rows.stop)] = 0
        out = found[graph.starts[a] + rows.start : graph.starts[a] + rows.stop]
        out[:, 0] += (paths * (paths - 1)).sum(1) / 2
        if (a, c) in joined:
            out[:, 1] += (paths * joined[a, c][rows]).sum(1)
    degrees = torch.from_numpy(degree).double().split(list(graph.sizes))
    for (a, c), matrix in joined.items():
        found[graph.starts[a] : graph.starts[a + 1], 2] += matrix.double() @ degrees[c]
    return found.round().long().numpy()


def _multiplied_motifs(graph: LayeredGraph) -> Motifs:
    forth = {(block.source, block.target): block.matrix().float() for block in graph.blocks}
    bifans = loops = 0.0
    for a, c, rows, paths in _products(forth, graph.sizes):
        if (a, c) in forth:
            loops += float((paths * forth[a, c][rows]).sum())
        if a <= c:
            later = paths.triu(rows.start + 1) if a == c else paths
            bifans += float((later * (later - 1)).sum()) / 2
    return Motifs(round(bifans), round(loops))
