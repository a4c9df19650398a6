r"""Paths from the inputs to the outputs of a network: through which units they lead, how wide they
are.

Paths are counted by one pass over the layers in each direction. Units that no input reaches or that
reach no output lie on none. Counts grow like the product of the widths; they are kept as a mantissa
per unit and a power of two per layer, so that depth does not overflow them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from structure_net.evolution.metrics.graph_kernels import widest_paths
from structure_net.evolution.metrics.layered_graph import LayeredGraph
from structure_net.evolution.metrics.validity import Unavailable

_Flow = tuple[list[Tensor], list[int]]
"""Mantissas by layer, and the power of two of each layer."""


def path_shares(graph: LayeredGraph, *, weighted: bool = False) -> Tensor | Unavailable:
    r"""The fraction of all paths from inputs to outputs that lead through each unit.

    .. math:: s(v) = f(v) b(v) / \sum_{o} f(o)

    where :math:`f` counts the paths from inputs to a unit and :math:`b` those from it to outputs.
    In a network without skip connections the shares of each hidden layer sum to 1.

    Args:
        graph: The graph.
        weighted: A path counts as the product of its weights instead of 1.

    Returns:
        Shape ``(V,)``, float64, in [0, 1]; unavailable where no path leads through.
    """
    weights = graph.weights if weighted else torch.ones_like(graph.weights)
    forward = _flow(graph, weights, backward=False)
    backward = _flow(graph, weights, backward=True)
    ends = graph.outputs.split(list(graph.sizes))
    sums = [float(f[end].sum()) for f, end in zip(forward[0], ends, strict=True)]
    top = max((e for e, value in zip(forward[1], sums, strict=True) if value), default=None)
    if top is None:
        return Unavailable("no path leads from an input to an output")
    total = sum(_scaled(value, e - top) for e, value in zip(forward[1], sums, strict=True))
    shares = []
    for f, fe, b, be in zip(*forward, *backward, strict=True):
        # In two halves, since a power of two may be beyond float64 where the share is not.
        half = (fe + be - top) // 2
        shares.append((f * _scaled(1.0, half)) * (b * _scaled(1.0, fe + be - top - half)) / total)
    return torch.cat(shares)


def path_count(graph: LayeredGraph) -> float | Unavailable:
    """The natural logarithm of the number of paths from inputs to outputs; unavailable for none."""
    counts, powers = _flow(graph, torch.ones_like(graph.weights), backward=False)
    ends = graph.outputs.split(list(graph.sizes))
    sums = [float(part[end].sum()) for part, end in zip(counts, ends, strict=True)]
    logs = [math.log(s) + e * math.log(2) for s, e in zip(sums, powers, strict=True) if s]
    if not logs:
        return Unavailable("no path leads from an input to an output")
    return float(torch.tensor(logs, dtype=torch.float64).logsumexp(0))


def _flow(graph: LayeredGraph, weights: Tensor, *, backward: bool) -> _Flow:
    """The paths that begin (or end, backward) at each unit's far side."""
    ends = (graph.outputs if backward else graph.inputs).double().split(list(graph.sizes))
    blocks = _by_target(graph, weights, backward=backward)
    values, powers = list(ends), [0] * len(ends)
    order = range(len(ends) - 1, -1, -1) if backward else range(len(ends))
    for layer in order:
        parts = [(ends[layer], 0)] if bool(ends[layer].any()) else []
        for source, tails, heads, along in blocks.get(layer, ()):
            flow = values[source][tails] * along
            part = torch.zeros_like(ends[layer]).index_add(0, heads, flow)
            parts.append((part, powers[source]))
        if parts:
            values[layer], powers[layer] = _sum(parts)
    return values, powers


def _by_target(
    graph: LayeredGraph, weights: Tensor, *, backward: bool
) -> dict[int, list[tuple[int, Tensor, Tensor, Tensor]]]:
    """For each layer, the edges into it from the side where the flow comes from."""
    found: dict[int, list[tuple[int, Tensor, Tensor, Tensor]]] = {}
    for block in graph.blocks:
        along = weights[block.edges]
        if backward:
            found.setdefault(block.source, []).append(
                (block.target, block.heads, block.tails, along)
            )
        else:
            found.setdefault(block.target, []).append(
                (block.source, block.tails, block.heads, along)
            )
    return found


def _sum(parts: list[tuple[Tensor, int]]) -> tuple[Tensor, int]:
    """The sum of scaled vectors, scaled so that its largest entry is between 1/2 and 1."""
    parts = [(part, power) for part, power in parts if bool((part > 0).any())] or parts[:1]
    top = max(power for _, power in parts)
    total = torch.stack([part * _scaled(1.0, power - top) for part, power in parts]).sum(0)
    exponent = math.frexp(float(total.max()))[1]
    return total * 2.0**-exponent, top + exponent


def _scaled(value: float, power: int) -> float:
    """``value`` times a power of two, 0 where that is below the range of float64."""
    return math.ldexp(value, max(power, -2000))


@dataclass(frozen=True, slots=True)
class Disconnection:
    """Where inputs and outputs come apart when weak connections are taken away.

    Args:
        threshold: The largest weight such that the connections of at least this weight still join
            an input to an output: the widest path's smallest weight.
        kept: The fraction of connections that are at least so strong.
    """

    threshold: float
    kept: float


def percolation_threshold(graph: LayeredGraph) -> Disconnection | Unavailable:
    """The weight at which inputs and outputs disconnect; unavailable where they are not joined.

    Weights are compared as they are; `LayeredGraph.relative` makes layers comparable first.
    """
    rows = graph.outgoing
    width = np.empty(graph.vertices)
    widest_paths(rows.starts, rows.neighbours, rows.weights, graph.inputs.numpy(), width)
    apart = graph.outputs & ~graph.inputs
    widest = float(torch.from_numpy(width)[apart].max()) if bool(apart.any()) else -1.0
    if widest < 0:
        return Unavailable("no path leads from an input to an output")
    return Disconnection(widest, float((graph.weights >= widest).double().mean()))


def effective_width(shares: Tensor) -> float | Unavailable:
    r"""How many units the paths of a layer are shared among, :math:`(\sum_i s_i)^2 / \sum_i s_i^2`.

    Args:
        shares: Of the layer's units, from `path_shares`. Shape ``(C,)``.

    Returns:
        Between 1 and ``C``; unavailable where no path leads through the layer.
    """
    squares = float(shares.square().sum())
    if squares == 0:
        return Unavailable("no path leads through the layer")
    return float(shares.sum()) ** 2 / squares
