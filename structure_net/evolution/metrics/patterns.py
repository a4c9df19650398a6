"""Small patterns of connections: squares, triangles, bi-fans, feed-forward loops.

A layered graph without skip connections has no triangle, so that the usual clustering coefficient
is 0 whatever the network; squares (two units that share two neighbours) are what clusters there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from structure_net.evolution.metrics.graph_kernels import Array, common_neighbours, directed_motifs
from structure_net.evolution.metrics.layered_graph import LayeredGraph
from structure_net.evolution.metrics.validity import Unavailable


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
    """Counts squares and triangles exactly, in time proportional to the sum of squared degrees."""
    rows = graph.undirected
    found = np.empty((graph.vertices, 3), dtype=np.int64)
    common_neighbours(rows.starts, rows.neighbours, found)
    degree = np.diff(rows.starts)
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

    `against_null` tells whether the counts are more than degrees explain.
    """
    forth, back = graph.outgoing, graph.incoming
    found = np.empty((graph.vertices, 2), dtype=np.int64)
    directed_motifs(forth.starts, forth.neighbours, back.starts, back.neighbours, found)
    bifans, loops = found.sum(0).tolist()
    return Motifs(bifans, loops)
