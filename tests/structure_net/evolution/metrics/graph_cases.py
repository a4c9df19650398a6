"""Small layered graphs, and what networkx says of them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from structure_net.evolution.metrics import LayeredGraph
from structure_net.evolution.metrics.accelerated import to_networkx


def random_graph(
    sizes: tuple[int, ...] = (12, 9, 10, 6),
    density: float = 0.3,
    skips: float = 0.0,
    seed: int = 0,
) -> LayeredGraph:
    generator = torch.Generator().manual_seed(seed)

    def matrix(before: int, behind: int, present: float) -> Tensor:
        values = torch.randn(before, behind, generator=generator, dtype=torch.float64)
        return values * (torch.rand(before, behind, generator=generator) < present)

    pairs = {(i, i + 1): matrix(a, b, density) for i, (a, b) in enumerate(pairwise(sizes))}
    for i, (a, b) in enumerate(zip(sizes, sizes[2:], strict=False)):
        if skips:
            pairs[i, i + 2] = matrix(a, b, skips)
    return LayeredGraph.of_blocks(sizes, pairs)


def with_lengths(graph: LayeredGraph) -> Any:
    made = to_networkx(graph)
    for _, _, edge in made.edges(data=True):
        edge["length"] = 1 / edge["weight"]
    return made


def vector(found: Mapping[int, float]) -> Tensor:
    return torch.tensor([float(found[v]) for v in range(len(found))], dtype=torch.float64)
