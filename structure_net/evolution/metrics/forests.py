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

from typing import Final

import numpy as np
import numpy.typing as npt

from structure_net.core.compiling import compiled

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64] | npt.NDArray[np.float32]

_FEW: Final = 0.15
"""Sorting this fraction of the edges costs as much as Prim's pass over all of them."""


@compiled("int64(int64[::1], int64)")
def find(parent, vertex):  # type: ignore[no-untyped-def]
    """The root of ``vertex``, halving its path."""
    while parent[vertex] != vertex:
        parent[vertex] = parent[parent[vertex]]
        vertex = parent[vertex]
    return vertex


@compiled("int64[::1](int64[::1], int64[::1], int64)")
def kruskal(tails, heads, vertices):  # type: ignore[no-untyped-def]
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
            parent[tail] = head
            kept[count] = edge
            count += 1
    return kept[:count].copy()


@compiled("int64[::1](float64[:, ::1])", "int64[::1](float32[:, ::1])")
def prim(weights):  # type: ignore[no-untyped-def]
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
