"""How well a network holds together: components, spectral gap, removal of units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from structure_net.evolution.metrics.graph_kernels import growing_components
from structure_net.evolution.metrics.layered_graph import LayeredGraph
from structure_net.evolution.metrics.validity import Unavailable


def components(graph: LayeredGraph) -> Tensor:
    """The component of each unit, where the direction of connections does not count.

    Components are numbered by size, the largest first.

    Returns:
        Shape ``(V,)``, int64.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    shape = (graph.vertices, graph.vertices)
    ones = np.ones(graph.edges, dtype=np.int8)
    matrix = csr_array((ones, (graph.tails.numpy(), graph.heads.numpy())), shape=shape)
    _, labels = connected_components(matrix, directed=False)
    found = torch.from_numpy(labels.astype(np.int64))
    rank = torch.argsort(torch.bincount(found), descending=True, stable=True)
    return torch.argsort(rank)[found]


def spectral_gap(
    graph: LayeredGraph, *, weighted: bool = False, largest_component: bool = False
) -> float | Unavailable:
    r"""The second smallest eigenvalue of the normalised Laplacian, where direction does not count.

    .. math:: \lambda_2\left( I - D^{-1/2} A D^{-1/2} \right)

    It is 0 for a graph in parts, and large where no cut of few connections splits it (Cheeger:
    :math:`\lambda_2 / 2 \le h \le \sqrt{2 \lambda_2}`). The gap of the random walk's second
    largest absolute eigenvalue is no measure here: without skip connections even and odd layers
    alternate, so that it is always 0.

    Args:
        graph: The graph.
        weighted: Whether strong connections count more.
        largest_component: Measure the largest component instead of refusing a graph in parts.

    Returns:
        In [0, 2]; unavailable for a graph in parts and for fewer than three units.
    """
    part = components(graph)
    counts = torch.bincount(part)
    if len(counts) > 1 and not largest_component:
        alone = int((counts == 1).sum())
        return Unavailable(
            f"the graph is in {len(counts)} parts, {alone} of them single units, so that the gap"
            " is 0 by definition; ask for the largest component"
        )
    if int(counts[0]) < 3:
        return Unavailable("fewer than three units are connected")
    return _second_smallest(graph, part == 0, weighted=weighted)


def _second_smallest(graph: LayeredGraph, inside: Tensor, *, weighted: bool) -> float | Unavailable:
    from scipy.sparse import csr_array, diags_array
    from scipy.sparse.linalg import eigsh

    size = int(inside.sum())
    number = torch.cumsum(inside, 0) - 1
    chosen = inside[graph.tails]
    tails, heads = number[graph.tails[chosen]].numpy(), number[graph.heads[chosen]].numpy()
    values = graph.weights[chosen].numpy() if weighted else np.ones(len(tails))
    half = csr_array((values, (tails, heads)), shape=(size, size))
    matrix = half + half.T
    strength = np.asarray(matrix.sum(axis=1)).ravel()
    if strength.min() == 0:
        return Unavailable("a unit is connected by weights of 0 only")
    scale = diags_array(1 / np.sqrt(strength))
    similar = scale @ matrix @ scale
    if size < 32:
        return float(1 - np.linalg.eigvalsh(similar.toarray())[-2])
    # The first eigenvector is known; starting away from it saves steps, and fixes the result.
    begin = np.random.default_rng(0).standard_normal(size)
    return float(1 - eigsh(similar, k=2, which="LA", v0=begin, return_eigenvectors=False).min())


@dataclass(frozen=True, slots=True, eq=False)
class Dismantling:
    """What is left of a graph while units are removed one by one.

    Args:
        largest: The fraction of all units that are in the largest component after 0, 1, ... V
            removals. Shape ``(V + 1,)``, float64.
        robustness: The mean of ``largest`` after 1 to V removals, in (0, 1/2]: 1/2 for a graph of
            which any remainder is in one piece.
        half: The fraction of units whose removal first brings the largest component down to half
            of all units or fewer.

    References:
        Schneider et al., "Mitigation of malicious attacks on networks", 2011.
    """

    largest: Tensor
    robustness: float
    half: float


def dismantling(graph: LayeredGraph, order: Tensor) -> Dismantling:
    """How a graph falls apart when units are removed in a given order.

    Args:
        graph: The graph; the direction of connections does not count.
        order: All units, the first to go first: a random permutation, or ``argsort`` of a measure
            (degrees, betweenness) for a targeted removal. Shape ``(V,)``, int64.

    Raises:
        ValueError: ``order`` is not a permutation of the units.
    """
    expected = torch.arange(graph.vertices)
    if order.shape != expected.shape or not torch.equal(order.sort().values, expected):
        raise ValueError(
            f"order must name each of the {graph.vertices} units once; got shape"
            f" {tuple(order.shape)}."
        )
    rows = graph.undirected
    sizes = np.empty(graph.vertices + 1, dtype=np.int64)
    arrivals = np.ascontiguousarray(order.flip(0).numpy())
    growing_components(rows.starts, rows.neighbours, arrivals, sizes)
    largest = torch.from_numpy(sizes).flip(0).double() / graph.vertices
    half = int((largest <= 0.5).nonzero()[0]) / graph.vertices
    return Dismantling(largest, float(largest[1:].mean()), half)
