r"""Homology of a network as a graph: of its flag complex, and of its directed paths.

The flag complex fills in every set of units that are connected pairwise. Without connections that
skip a layer no three are, so that there are no holes but the independent cycles of the graph:
:math:`\beta_1 = E - V + \beta_0`, and :math:`\beta_k = 0` above. With skips, triangles fill some.

Path homology counts directed paths instead. Of a fully connected net of :math:`L` layers of
:math:`n_i` units, it is 0 but for :math:`\beta_0 = 1` and :math:`\beta_{L-1} = \prod (n_i - 1)`: it
depends on the widths alone, and tells something of nets with missing and with skipping connections.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import comb
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from structure_net.core.compiling import compiled
from structure_net.evolution.metrics.libraries import gudhi_part
from structure_net.evolution.metrics.validity import Unavailable

Integers = npt.NDArray[np.int64]

_PRIME: Final = 2_147_483_647
"""Homology over this field differs from that over the rationals by torsion of this order alone."""

Column = dict[int, int]


def flag_betti_numbers(
    tails: Tensor, heads: Tensor, vertices: int, *, dimension: int = 2, limit: int = 200_000
) -> tuple[int, ...] | Unavailable:
    r"""The Betti numbers :math:`\beta_0, \dots, \beta_d` of the flag complex of a graph.

    Args:
        tails: A vertex of each edge; directions and repeated edges do not matter. Shape ``(e,)``.
        heads: The other one. Shape ``(e,)``.
        vertices: The number of vertices.
        dimension: ``d``, at least 1.
        limit: The largest number of simplices. A graph without triangles has none that count.

    Returns:
        ``d + 1`` numbers, over the field of eleven elements; unavailable if the complex has, or may
        have, more simplices than ``limit``.

    Raises:
        ValueError: A vertex is out of range, or an edge joins a vertex with itself.
    """
    edges = _distinct(tails, heads, vertices, directed=False)
    from scipy.sparse import coo_array

    entries = (torch.ones(len(edges)).numpy(), (edges[:, 0].numpy(), edges[:, 1].numpy()))
    upper = coo_array(entries, shape=(vertices, vertices)).tocsr()
    adjacency = upper + upper.T
    if is_bipartite(*_rows(adjacency)) or not has_triangle(*_rows(upper)):
        return _cycles(upper, len(edges), vertices, dimension)
    shared = ((adjacency @ adjacency) * upper).data.astype(int).tolist()
    most = vertices + len(edges) + _cliques(shared, dimension)
    if most > limit:
        return Unavailable(
            f"the flag complex may have {most} simplices up to dimension {dimension + 1}, and"
            f" {limit} are the limit"
        )
    return _reduced(edges, vertices, dimension)


@compiled("boolean(int64[::1], int64[::1])")
def is_bipartite(starts: Integers, neighbours: Integers) -> bool:
    """Whether two colours suffice such that no edge joins equal ones; then there is no triangle.

    Args:
        starts: Where each vertex's neighbours begin. Shape ``(vertices + 1,)``, int64.
        neighbours: One vertex after the other, each edge from both of its ends. int64.
    """
    colours = np.full(len(starts) - 1, -1)
    waiting = np.empty(len(starts) - 1, np.int64)
    for first in range(len(starts) - 1):
        if colours[first] >= 0:
            continue
        colours[first] = 0
        waiting[0] = first
        count = 1
        while count:
            count -= 1
            vertex = waiting[count]
            for other in neighbours[starts[vertex] : starts[vertex + 1]]:
                if colours[other] == colours[vertex]:
                    return False
                if colours[other] < 0:
                    colours[other] = 1 - colours[vertex]
                    waiting[count] = other
                    count += 1
    return True


@compiled("boolean(int64[::1], int64[::1])")
def has_triangle(starts: Integers, following: Integers) -> bool:
    """Whether three vertices are connected pairwise.

    Args:
        starts: Where each vertex's later neighbours begin. Shape ``(vertices + 1,)``, int64.
        following: The later neighbours, one vertex after the other. int64.
    """
    marked = np.full(len(starts) - 1, -1)
    for first in range(len(starts) - 1):
        for second in following[starts[first] : starts[first + 1]]:
            marked[second] = first
        for second in following[starts[first] : starts[first + 1]]:
            for third in following[starts[second] : starts[second + 1]]:
                if marked[third] == first:
                    return True
    return False


def _rows(matrix: Any) -> tuple[Any, Any]:
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64)


def _cycles(upper: Any, edges: int, vertices: int, dimension: int) -> tuple[int, ...]:
    from scipy.sparse.csgraph import connected_components

    components = int(connected_components(upper, directed=False)[0])
    return (components, edges - vertices + components, *(0 for _ in range(dimension - 1)))


def _cliques(shared: Sequence[int], dimension: int) -> int:
    """A bound on the simplices above edges, from the neighbours that the ends of each edge share.

    A simplex of ``size`` vertices has ``comb(size, 2)`` edges, and its other vertices are shared
    neighbours of the ends of each.
    """
    sizes = range(3, dimension + 3)
    return sum(sum(comb(count, size - 2) for count in shared) // comb(size, 2) for size in sizes)


def _reduced(edges: Tensor, vertices: int, dimension: int) -> tuple[int, ...]:
    tree = gudhi_part("gudhi").SimplexTree()
    for vertex in range(vertices):
        tree.insert([vertex])
    tree.insert_batch(edges.T.contiguous().numpy(), torch.zeros(len(edges)).numpy())
    tree.expansion(dimension + 1)
    highest = tree.dimension() <= dimension
    tree.compute_persistence(homology_coeff_field=11, persistence_dim_max=highest)
    found = [*tree.betti_numbers(), *(0 for _ in range(dimension + 1))]
    return tuple(int(number) for number in found[: dimension + 1])


def path_betti_numbers(
    tails: Tensor, heads: Tensor, vertices: int, *, dimension: int, limit: int = 10_000
) -> tuple[int, ...] | Unavailable:
    r"""The Betti numbers :math:`\beta_0, \dots, \beta_d` of the path homology of a directed graph.

    An allowed ``p``-path follows ``p`` edges. The chains :math:`\Omega_p` are the combinations of
    allowed paths whose boundary consists of allowed paths.

    Args:
        tails: The vertex that each edge leaves; repeated edges count once. Shape ``(e,)``.
        heads: The vertex that it enters. Shape ``(e,)``.
        vertices: The number of vertices.
        dimension: ``d``, at least 0; in a net of ``L`` layers of connections none is above
            ``L - 1``, if none skips.
        limit: The largest number of allowed paths up to ``d + 1`` edges.

    Returns:
        ``d + 1`` numbers, over a field of 2147483647 elements; unavailable if there are more paths.

    Raises:
        ValueError: A vertex is out of range, or an edge joins a vertex with itself.

    References:
        Grigor'yan, Lin, Muranov and Yau, "Homologies of path complexes and digraphs", 2012;
        Chowdhury, Gebhart, Huntsman and Yutin, "Path homologies of deep feedforward networks",
        ICMLA 2019.
    """
    edges = _distinct(tails, heads, vertices, directed=True)
    count = _path_count(edges, vertices, dimension + 1)
    if count > limit:
        return Unavailable(
            f"the net has {count:.3g} paths of up to {dimension + 1} connections, and {limit} are"
            " the limit"
        )
    paths = _allowed_paths(edges, vertices, dimension + 1)
    ranks = [(0, 0), *(_boundary_ranks(before, after) for before, after in pairwise(paths))]
    return tuple(
        len(paths[p]) - ranks[p][0] - (ranks[p + 1][0] - ranks[p + 1][1])
        for p in range(dimension + 1)
    )


def _path_count(edges: Tensor, vertices: int, longest: int) -> float:
    """Paths of up to ``longest`` edges, single vertices included."""
    ending = torch.ones(vertices, dtype=torch.float64)
    total = float(vertices)
    for _ in range(longest):
        ending = torch.zeros_like(ending).index_add_(0, edges[:, 1], ending[edges[:, 0]])
        total += float(ending.sum())
    return total


def _allowed_paths(edges: Tensor, vertices: int, longest: int) -> list[list[tuple[int, ...]]]:
    following: list[list[int]] = [[] for _ in range(vertices)]
    for tail, head in edges.tolist():
        following[tail].append(head)
    paths: list[list[tuple[int, ...]]] = [[(vertex,) for vertex in range(vertices)]]
    for _ in range(longest):
        paths.append([(*path, head) for path in paths[-1] for head in following[path[-1]]])
    return paths


def _boundary_ranks(
    shorter: Sequence[tuple[int, ...]], longer: Sequence[tuple[int, ...]]
) -> tuple[int, int]:
    """The ranks of the boundary of allowed paths, and of its part outside the allowed ones.

    Faces that are not allowed get the highest indices, and columns are reduced by their highest
    entry, so that one elimination gives both.
    """
    index = {path: position for position, path in enumerate(shorter)}
    allowed = len(index)
    columns = []
    for path in longer:
        column: Column = {}
        for position in range(len(path)):
            face = path[:position] + path[position + 1 :]
            if any(one == other for one, other in pairwise(face)):
                continue
            row = index.setdefault(face, len(index))
            column[row] = (column.get(row, 0) + (-1) ** position) % _PRIME
        columns.append({row: value for row, value in column.items() if value})
    pivots = _pivots(columns)
    return len(pivots), sum(row >= allowed for row in pivots)


def _pivots(columns: Iterable[Column]) -> set[int]:
    """The highest rows of the columns' echelon form, modulo `_PRIME`."""
    reduced: dict[int, Column] = {}
    for start in columns:
        column = start
        while column:
            row = max(column)
            if row not in reduced:
                inverse = pow(column[row], -1, _PRIME)
                reduced[row] = {key: value * inverse % _PRIME for key, value in column.items()}
                break
            column = _less(column, reduced[row], column[row])
    return set(reduced)


def _less(column: Column, other: Column, factor: int) -> Column:
    """``column - factor * other``, without its zeros."""
    result = dict(column)
    for row, value in other.items():
        rest = (result.get(row, 0) - factor * value) % _PRIME
        if rest:
            result[row] = rest
        else:
            result.pop(row, None)
    return result


def _distinct(tails: Tensor, heads: Tensor, vertices: int, *, directed: bool) -> Tensor:
    """The edges, each once, sorted. Shape ``(e, 2)``, int64."""
    edges = torch.stack([tails.detach().cpu().long(), heads.detach().cpu().long()], 1)
    if len(edges) and not 0 <= int(edges.min()) <= int(edges.max()) < vertices:
        raise ValueError(
            f"Edges must join vertices 0 to {vertices - 1}; got {int(edges.min())} to"
            f" {int(edges.max())}."
        )
    if bool((edges[:, 0] == edges[:, 1]).any()):
        raise ValueError("An edge must join two vertices; one joins a vertex with itself.")
    if not directed:
        edges = edges.sort(1).values
    keys = (edges[:, 0] * vertices + edges[:, 1]).unique()
    return torch.stack([keys // vertices, keys % vertices], 1)
