r"""What a number of a graph means: the same number on random graphs of the same degrees.

Communities and motifs are found in random graphs, too (a modularity of 0.2 is usual for sparse
layers), so that their counts mean something only beside a null model. Here it is the network with
its connections rewired: within each pair of layers, heads of connections are swapped, which keeps
the fan-in and the fan-out of every unit, and the weights are dealt out anew. Between densely
connected layers no connection can move, and the null model says what the weights alone contribute.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from structure_net.evolution.metrics.graph_kernels import swap_heads
from structure_net.evolution.metrics.layered_graph import Block, LayeredGraph
from structure_net.evolution.metrics.validity import Unavailable

_SWAPS_PER_EDGE: Final = 10
"""Enough for the graph to forget where it came from (Milo et al., 2003: 100 are never needed)."""


@dataclass(frozen=True, slots=True)
class AgainstNull:
    """A number beside its null model.

    Args:
        value: The number of the graph itself.
        null_mean: Its mean over the random graphs.
        null_std: Its standard deviation over them (with n - 1).
        z: ``(value - null_mean) / null_std``; unavailable where the null model does not vary.
    """

    value: float
    null_mean: float
    null_std: float
    z: float | Unavailable


def rewired(graph: LayeredGraph, *, seed: int = 0) -> LayeredGraph:
    """A random graph with the same fan-in and fan-out of every unit, per pair of layers.

    Args:
        graph: What to rewire; it is left as it is.
        seed: What swaps and the new order of the weights are drawn from.

    References:
        Maslov and Sneppen, "Specificity and stability in topology of protein networks", 2002.
    """
    random = np.random.default_rng(seed)
    heads, weights = graph.heads.clone(), graph.weights.clone()
    starts = graph.starts
    for block in graph.blocks:
        if not rigid(block):
            heads[block.edges] = _swapped(block, random) + starts[block.target]
        order = torch.from_numpy(random.permutation(len(block.edges)))
        weights[block.edges] = block.weights[order]
    if all(rigid(block) for block in graph.blocks):
        return replace(graph, weights=weights)
    return graph.with_edges(graph.tails, heads, weights)


def rigid(block: Block) -> bool:
    """Whether every connection exists that can, so that none can be rewired."""
    return len(block.edges) == block.shape[0] * block.shape[1]


def _swapped(block: Block, random: np.random.Generator) -> Tensor:
    edges = len(block.edges)
    heads = block.heads.clone()
    taken = np.zeros(block.shape, dtype=np.bool_)
    taken[block.tails.numpy(), block.heads.numpy()] = True
    tails = np.ascontiguousarray(block.tails.numpy())
    for _ in range(_SWAPS_PER_EDGE):
        swap_heads(tails, heads.numpy(), taken, random.integers(edges, size=(edges, 2)))
    return heads


def against_null(
    graph: LayeredGraph,
    measure: Callable[[LayeredGraph], float],
    *,
    samples: int = 10,
    seed: int = 0,
) -> AgainstNull:
    """A measure of a graph beside the same measure of rewired ones.

    Args:
        graph: The graph.
        measure: Takes a graph to a number.
        samples: The number of random graphs, at least 2.
        seed: What they are drawn from.

    Raises:
        ValueError: ``samples`` is below 2, of which no spread can be taken.
    """
    if samples < 2:
        raise ValueError(f"samples must be 2 or more, to have a spread; got {samples}.")
    return beside(measure(graph), [measure(null) for null in nulls(graph, samples, seed)])


def nulls(graph: LayeredGraph, samples: int, seed: int = 0) -> tuple[LayeredGraph, ...]:
    """Rewired graphs, each from a seed of its own."""
    seeds = np.random.SeedSequence(seed).generate_state(samples)
    return tuple(rewired(graph, seed=int(one)) for one in seeds)


def beside(value: float, null: list[float]) -> AgainstNull:
    """A number beside those of two or more random graphs."""
    mean, std = float(np.mean(null)), float(np.std(null, ddof=1))
    spread = std > 1e-12 * max(abs(mean), abs(value))
    z = (value - mean) / std if spread else Unavailable("the null model does not vary")
    return AgainstNull(value, mean, std if spread else 0.0, z)
