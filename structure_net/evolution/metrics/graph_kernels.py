"""Loops over edges that no tensor product expresses, written for `structure_net.core.compiling`.

All
graphs come as compressed rows (`layered_graph.Rows`), directed ones with every edge leading to a
higher vertex, so that the order of the vertices is an order of evaluation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from structure_net.core.compiling import compiled

Array = np.ndarray[Any, np.dtype[Any]]


@compiled("void(int64[::1], int64[::1], float64[::1], int64[::1], float64[::1])")
def shortest_path_shares(  # noqa: C901 - there and back, as the algorithm goes
    starts: Array, heads: Array, lengths: Array, sources: Array, out: Array
) -> None:
    """Adds to ``out`` what lies between ``sources`` and all other vertices, by Brandes' algorithm.

    A path's length is summed from its source on, and two paths tie if these sums are equal, as in
    Dijkstra's algorithm.
    """
    count = len(out)
    distance, paths, share = np.empty(count), np.empty(count), np.empty(count)
    for source in sources:
        distance[source:], paths[source:], share[source:] = np.inf, 0.0, 0.0
        distance[source], paths[source] = 0.0, 1.0
        for vertex in range(source, count):
            if distance[vertex] < np.inf:
                for edge in range(starts[vertex], starts[vertex + 1]):
                    head, there = heads[edge], distance[vertex] + lengths[edge]
                    if there < distance[head]:
                        distance[head], paths[head] = there, paths[vertex]
                    elif there == distance[head]:
                        paths[head] += paths[vertex]
        for vertex in range(count - 1, source, -1):
            if distance[vertex] < np.inf:
                for edge in range(starts[vertex], starts[vertex + 1]):
                    head = heads[edge]
                    if distance[head] == distance[vertex] + lengths[edge]:
                        share[vertex] += paths[vertex] / paths[head] * (1.0 + share[head])
                out[vertex] += share[vertex]


@compiled("void(int64[::1], int64[::1], int64[:, ::1])")
def common_neighbours(starts: Array, neighbours: Array, out: Array) -> None:
    """Counts, for each vertex of an undirected graph, what it shares with others.

    Args:
        starts: Shape ``(V + 1,)``.
        neighbours: Shape ``(2 E,)``.
        out: Shape ``(V, 3)``, int64, written: pairs of paths of length 2 to a common end (the
            squares through the vertex), paths of length 2 to its own neighbours (twice its
            triangles), and the sum of its neighbours' degrees.
    """
    count = len(out)
    shared, seen = np.zeros(count, np.int64), np.empty(count, np.int64)
    for vertex in range(count):
        reached = 0
        out[vertex] = 0
        for first in range(starts[vertex], starts[vertex + 1]):
            middle = neighbours[first]
            out[vertex, 2] += starts[middle + 1] - starts[middle]
            for second in range(starts[middle], starts[middle + 1]):
                end = neighbours[second]
                if end != vertex:
                    if shared[end] == 0:
                        seen[reached] = end
                        reached += 1
                    shared[end] += 1
        for first in range(starts[vertex], starts[vertex + 1]):
            out[vertex, 1] += shared[neighbours[first]]
        for index in range(reached):
            end = seen[index]
            out[vertex, 0] += shared[end] * (shared[end] - 1) // 2
            shared[end] = 0


@compiled("void(int64[::1], int64[::1], int64[::1], int64[::1], int64[:, ::1])")
def directed_motifs(
    starts: Array, heads: Array, back_starts: Array, tails: Array, out: Array
) -> None:
    """Counts bi-fans and feed-forward loops.

    Args:
        starts: Of the edges by tail. Shape ``(V + 1,)``.
        heads: Shape ``(E,)``.
        back_starts: Of the edges by head. Shape ``(V + 1,)``.
        tails: Shape ``(E,)``.
        out: Shape ``(V, 2)``, int64, written: the bi-fans and the feed-forward loops whose lowest
            vertex is the given one.
    """
    count = len(out)
    shared, seen = np.zeros(count, np.int64), np.empty(count, np.int64)
    for vertex in range(count):
        reached = 0
        out[vertex] = 0
        for first in range(starts[vertex], starts[vertex + 1]):
            head = heads[first]
            for second in range(back_starts[head], back_starts[head + 1]):
                other = tails[second]
                if other > vertex:
                    if shared[other] == 0:
                        seen[reached] = other
                        reached += 1
                    shared[other] += 1
        for first in range(starts[vertex], starts[vertex + 1]):
            out[vertex, 1] += shared[heads[first]]
        for index in range(reached):
            other = seen[index]
            out[vertex, 0] += shared[other] * (shared[other] - 1) // 2
            shared[other] = 0


@compiled("void(int64[::1], int64[::1], float64[::1], boolean[::1], float64[::1])")
def widest_paths(starts: Array, heads: Array, weights: Array, begins: Array, width: Array) -> None:
    """Writes the widest path from any beginning to each vertex: its smallest weight is largest.

    Args:
        starts: Shape ``(V + 1,)``.
        heads: Shape ``(E,)``.
        weights: Shape ``(E,)``.
        begins: Where paths begin. Shape ``(V,)``, bool.
        width: Shape ``(V,)``, written: infinite at beginnings, negative where no path leads.
    """
    for vertex in range(len(width)):
        width[vertex] = np.inf if begins[vertex] else -1.0
    for vertex in range(len(width)):
        for edge in range(starts[vertex], starts[vertex + 1]):
            through = min(width[vertex], weights[edge])
            width[heads[edge]] = max(width[heads[edge]], through)


@compiled("void(int64[::1], int64[::1], int64[::1], int64[::1])")
def growing_components(starts: Array, neighbours: Array, order: Array, largest: Array) -> None:
    """Writes the size of the largest component while vertices are added one by one.

    Newman and Ziff, "Fast Monte Carlo algorithm for site or bond percolation", 2001.

    Args:
        starts: Of the undirected graph. Shape ``(V + 1,)``.
        neighbours: Shape ``(2 E,)``.
        order: The vertices in the order of their arrival. Shape ``(V,)``.
        largest: Shape ``(V + 1,)``, int64, written: after 0, 1, ... arrivals.
    """
    count = len(order)
    parent, size = np.full(count, -1, np.int64), np.ones(count, np.int64)
    largest[0], best = 0, 0
    for arrival in range(count):
        vertex = order[arrival]
        parent[vertex] = vertex
        root = vertex
        for edge in range(starts[vertex], starts[vertex + 1]):
            other = neighbours[edge]
            if parent[other] >= 0:
                while parent[other] != other:
                    parent[other] = parent[parent[other]]
                    other = parent[other]
                if other != root:
                    if size[other] > size[root]:
                        root, other = other, root
                    parent[other] = root
                    size[root] += size[other]
        best = max(best, size[root])
        largest[arrival + 1] = best


@compiled("void(int64[::1], int64[::1], boolean[:, ::1], int64[:, ::1])")
def swap_heads(tails: Array, heads: Array, taken: Array, draws: Array) -> None:
    """Swaps the heads of pairs of edges where this makes no edge twice, in place.

    Maslov and Sneppen, "Specificity and stability in topology of protein networks", 2002: every
    vertex keeps its degrees.

    Args:
        tails: The edges of one block. Shape ``(e,)``.
        heads: Shape ``(e,)``, written.
        taken: Which edges there are. Shape ``(earlier, later)``, bool, written.
        draws: Pairs of edges to try. Shape ``(tries, 2)``.
    """
    for index in range(len(draws)):
        one, other = draws[index, 0], draws[index, 1]
        if not taken[tails[one], heads[other]] and not taken[tails[other], heads[one]]:
            taken[tails[one], heads[one]] = taken[tails[other], heads[other]] = False
            heads[one], heads[other] = heads[other], heads[one]
            taken[tails[one], heads[one]] = taken[tails[other], heads[other]] = True


@compiled("int64(int64[::1], int64[::1], float64[::1], int64[::1], int64[::1])")
def move_to_neighbours(  # noqa: C901 - one round after another over the same tables
    starts: Array, neighbours: Array, weights: Array, order: Array, community: Array
) -> int:
    """The local moves of Louvain's method: each vertex joins the community that raises Q most.

    Blondel et al., "Fast unfolding of communities in large networks", 2008. A vertex stays unless
    another community is better by more than rounding, and of equally good ones takes that which
    it meets first.

    Args:
        starts: Of the undirected graph, whose edges stand in both rows; a loop stands once, with
            twice its weight. Shape ``(n + 1,)``.
        neighbours: Shape ``(e,)``.
        weights: Shape ``(e,)``.
        order: The order in which vertices are asked. Shape ``(n,)``.
        community: Shape ``(n,)``, int64, the vertices' own indices, written.

    Returns:
        The number of moves.
    """
    count = len(community)
    strength, loop = np.zeros(count), np.zeros(count)
    for vertex in range(count):
        for edge in range(starts[vertex], starts[vertex + 1]):
            strength[vertex] += weights[edge]
            if neighbours[edge] == vertex:
                loop[vertex] += weights[edge]
    total, whole = strength.copy(), strength.sum()
    to, met = np.zeros(count), np.empty(count, np.int64)
    known = np.zeros(count, np.bool_)
    moves, moved = 0, whole > 0.0
    while moved:
        moved = False
        for position in range(count):
            vertex = order[position]
            home, reached = community[vertex], 1
            met[0], known[home] = home, True
            for edge in range(starts[vertex], starts[vertex + 1]):
                group = community[neighbours[edge]]
                if not known[group]:
                    known[group], met[reached] = True, group
                    reached += 1
                to[group] += weights[edge]
            to[home] -= loop[vertex]
            total[home] -= strength[vertex]
            best, gain = home, to[home] - strength[vertex] * total[home] / whole
            for index in range(reached):
                group = met[index]
                value = to[group] - strength[vertex] * total[group] / whole
                if value > gain + 1e-12 * strength[vertex]:
                    best, gain = group, value
            for index in range(reached):
                to[met[index]], known[met[index]] = 0.0, False
            total[best] += strength[vertex]
            if best != home:
                community[vertex] = best
                moves += 1
                moved = True
    return moves
