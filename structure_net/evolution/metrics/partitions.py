r"""Communities: groups of units with more connections among them than degrees explain.

The direction of connections does not count. Modularity is

.. math:: Q = \sum_c \left( \frac{w_c}{w} - \left( \frac{k_c}{2 w} \right)^2 \right)

with the weight :math:`w` of all edges, :math:`w_c` of those within community c, and the sum
:math:`k_c` of its units' strengths. On its own it says little: a random sparse network has one of
about 0.2. Compare it with `null_models`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from structure_net.evolution.metrics.graph_kernels import Array, move_to_neighbours
from structure_net.evolution.metrics.layered_graph import LayeredGraph, Rows
from structure_net.evolution.metrics.null_models import AgainstNull, beside, nulls
from structure_net.evolution.metrics.validity import Unavailable


@dataclass(frozen=True, slots=True, eq=False)
class Communities:
    """A partition of the units.

    Args:
        labels: The community of each unit, numbered by their first unit. Shape ``(V,)``, int64.
        count: The number of communities; a unit without connections is one by itself.
        modularity: Q of the partition; unavailable where the graph has no weight.
    """

    labels: Tensor
    count: int
    modularity: float | Unavailable


def communities(graph: LayeredGraph, *, weighted: bool = True, seed: int = 0) -> Communities:
    """Communities by Louvain's method, which raises Q by local moves until none is left.

    The same graph and seed give the same communities. Others of nearly the same Q exist; do not
    read more out of a single unit's label than that.

    Args:
        graph: The graph.
        weighted: Whether strong connections count more.
        seed: What the order is drawn from in which units are asked.

    References:
        Blondel et al., "Fast unfolding of communities in large networks", 2008.
    """
    rows = graph.undirected
    weights = rows.weights if weighted else np.ones_like(rows.weights)
    level = Rows(rows.starts, rows.neighbours, weights)
    labels = np.arange(graph.vertices)
    random = np.random.default_rng(seed)
    while True:
        found = np.arange(len(level.starts) - 1)
        order = random.permutation(len(found))
        if not move_to_neighbours(level.starts, level.neighbours, level.weights, order, found):
            break
        named, found = np.unique(found, return_inverse=True)
        labels = found[labels]
        level = _merged(level, found, len(named))
    tidy = torch.from_numpy(_by_first(labels))
    return Communities(tidy, int(tidy.max()) + 1, modularity(graph, tidy, weighted=weighted))


def modularity(
    graph: LayeredGraph, labels: Tensor, *, weighted: bool = True
) -> float | Unavailable:
    """Q of a partition; equals `networkx.community.modularity` of the undirected graph.

    Args:
        graph: The graph.
        labels: The community of each unit, 0 or more. Shape ``(V,)``, int64.
        weighted: Whether strong connections count more.

    Raises:
        ValueError: There is not one label per unit.
    """
    if labels.shape != (graph.vertices,) or int(labels.min()) < 0:
        raise ValueError(
            f"labels must be {graph.vertices} numbers of 0 or more; got shape"
            f" {tuple(labels.shape)}."
        )
    weights = graph.weights if weighted else torch.ones_like(graph.weights)
    whole = float(weights.sum())
    if whole == 0:
        return Unavailable("the graph has no connection of positive weight")
    inside = labels[graph.tails] == labels[graph.heads]
    strength = torch.zeros(int(labels.max()) + 1, dtype=torch.float64)
    strength.index_add_(0, labels[graph.tails], weights)
    strength.index_add_(0, labels[graph.heads], weights)
    return float(weights[inside].sum() / whole - (strength / (2 * whole)).square().sum())


def modularity_against_null(
    graph: LayeredGraph, *, weighted: bool = True, samples: int = 10, seed: int = 0
) -> AgainstNull | Unavailable:
    """The modularity that is found in a graph, beside what is found in rewired ones.

    Args:
        graph: The graph.
        weighted: Whether strong connections count more.
        samples: The number of rewired graphs, at least 2.
        seed: What orders and rewired graphs are drawn from.

    Raises:
        ValueError: ``samples`` is below 2.
    """
    if samples < 2:
        raise ValueError(f"samples must be 2 or more, to have a spread; got {samples}.")
    value = communities(graph, weighted=weighted, seed=seed).modularity
    if isinstance(value, Unavailable):
        return value
    random = nulls(graph, samples, seed)
    found = [communities(null, weighted=weighted, seed=seed).modularity for null in random]
    return beside(value, [one for one in found if not isinstance(one, Unavailable)])


def _merged(level: Rows, labels: Array, count: int) -> Rows:
    """The graph of the communities; edges within one become a loop of twice their weight."""
    from scipy.sparse import coo_array

    tails = np.repeat(labels, np.diff(level.starts))
    heads = labels[level.neighbours]
    if count**2 <= len(heads):
        keys = tails * count + heads
        present = np.bincount(keys, minlength=count**2).reshape(count, count) > 0
        sums: Array = np.bincount(keys, level.weights, minlength=count**2).reshape(count, count)
        starts = np.concatenate([[0], present.sum(1).cumsum()])
        return Rows(starts, np.flatnonzero(present) % count, sums[present])
    made = coo_array((level.weights, (tails, heads)), shape=(count, count)).tocsr()
    made.sum_duplicates()
    return Rows(made.indptr.astype(np.int64), made.indices.astype(np.int64), made.data)


def _by_first(labels: Array) -> Array:
    """The labels numbered in the order in which they first appear."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]
