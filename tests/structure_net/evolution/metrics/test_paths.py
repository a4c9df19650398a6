from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from structure_net.evolution.metrics import (
    Disconnection,
    LayeredGraph,
    Unavailable,
    path_count,
    path_shares,
    percolation_threshold,
)
from structure_net.evolution.metrics.paths import effective_width
from tests.structure_net.evolution.metrics.graph_cases import random_graph


def counted(graph: LayeredGraph, weights: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Path shares by the inverse of ``1 - A``, which sums all powers of A."""
    matrix = np.zeros((graph.vertices, graph.vertices))
    matrix[graph.tails, graph.heads] = weights
    paths = np.linalg.inv(np.eye(graph.vertices) - matrix)
    into = paths[graph.inputs.numpy()].sum(0)
    out = paths[:, graph.outputs.numpy()].sum(1)
    total = float(into[graph.outputs.numpy()].sum())
    return torch.from_numpy(into * out / total), total


@pytest.mark.parametrize("skips", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [True, False])
def test_path_shares_count_all_paths(skips: float, weighted: bool) -> None:
    graph = random_graph(skips=skips)
    weights = graph.weights if weighted else torch.ones_like(graph.weights)
    expected, total = counted(graph, weights)
    torch.testing.assert_close(path_shares(graph, weighted=weighted), expected)
    if not weighted:
        assert float(path_count(graph)) == pytest.approx(math.log(total), rel=1e-12)


def test_the_shares_of_each_layer_of_a_chain_sum_to_one() -> None:
    graph = random_graph(density=0.2)
    shares = path_shares(graph)
    assert isinstance(shares, torch.Tensor)
    for part in graph.by_layer(shares).values():
        assert float(part.sum()) == pytest.approx(1.0, abs=1e-12)


def test_dead_ends_lie_on_no_path() -> None:
    first = torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])  # unit 1 is fed by nothing
    second = torch.tensor([[1.0, 1.0, 0.0]])  # unit 2 is read by nothing
    shares = path_shares(LayeredGraph.chain([first, second]))
    assert isinstance(shares, torch.Tensor)
    assert shares.tolist() == [0.5, 0.5, 1.0, 0.0, 0.0, 1.0]


def test_counts_of_deep_networks_do_not_overflow() -> None:
    depth, width = 1000, 16  # 16 ** 1001 paths
    chain = [torch.ones(width, width)] * depth
    graph = LayeredGraph.chain(chain)
    shares = path_shares(graph)
    assert isinstance(shares, torch.Tensor)
    torch.testing.assert_close(shares, torch.full_like(shares, 1 / width), rtol=1e-12, atol=0)
    assert float(path_count(graph)) == pytest.approx((depth + 1) * math.log(width), rel=1e-12)
    small = LayeredGraph.chain([matrix * 1e-5 for matrix in chain])
    weighted = path_shares(small, weighted=True)
    assert isinstance(weighted, torch.Tensor)
    torch.testing.assert_close(weighted, shares, rtol=1e-9, atol=0)


def test_a_network_without_a_path_says_so() -> None:
    graph = LayeredGraph.chain([torch.eye(2, 3), torch.zeros(2, 2)])
    for value in (path_shares(graph), path_count(graph), percolation_threshold(graph)):
        assert isinstance(value, Unavailable)
        assert "no path" in value.reason


def test_the_percolation_threshold_is_the_widest_paths_smallest_weight() -> None:
    wide = torch.tensor([[5.0, 1.0], [2.0, 9.0]])
    narrow = torch.tensor([[3.0, 4.0]])
    found = percolation_threshold(LayeredGraph.chain([wide, narrow]))
    # Input 1 to unit 1 (9), then 4: wider than input 0 to unit 0 (5), then 3.
    assert found == Disconnection(threshold=4.0, kept=3 / 6)


def test_removing_what_is_weaker_keeps_inputs_and_outputs_joined() -> None:
    graph = random_graph(density=0.4, skips=0.1)
    found = percolation_threshold(graph)
    assert isinstance(found, Disconnection)
    for kept, joined in (
        (graph.weights >= found.threshold, True),
        (graph.weights > found.threshold, False),
    ):
        rest = graph.with_edges(graph.tails[kept], graph.heads[kept], graph.weights[kept])
        assert isinstance(path_shares(rest), torch.Tensor) is joined
        assert float(kept.double().mean()) == found.kept or not joined


def test_the_effective_width_is_the_number_of_units_that_share_evenly() -> None:
    assert effective_width(torch.full((6,), 1 / 6, dtype=torch.float64)) == pytest.approx(6.0)
    assert effective_width(torch.tensor([0.7, 0.0, 0.0])) == pytest.approx(1.0)
    assert isinstance(effective_width(torch.zeros(3)), Unavailable)
