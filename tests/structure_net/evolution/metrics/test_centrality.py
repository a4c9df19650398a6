from __future__ import annotations

import networkx as nx
import pytest
import torch

from structure_net.errors import StructureNetError
from structure_net.evolution.metrics import (
    Degrees,
    LayeredGraph,
    betweenness,
    centrality,
    degrees,
    pagerank,
)
from structure_net.evolution.metrics.accelerated import to_networkx
from tests.structure_net.evolution.metrics.graph_cases import random_graph, vector, with_lengths

GRAPHS = {
    "sparse": random_graph(density=0.08),
    "dense": random_graph(density=0.7),
    "skips": random_graph(density=0.2, skips=0.15),
    "isolated": random_graph((8, 8, 8), density=0.05, seed=3),
}


def test_degrees_count_and_sum_connections() -> None:
    found = degrees(LayeredGraph.chain([torch.tensor([[1.0, -2.0], [0.0, 3.0]])]))
    assert isinstance(found, Degrees)
    assert found.fan_in.tolist() == [0, 0, 2, 1]
    assert found.fan_out.tolist() == [1, 2, 0, 0]
    assert found.strength_in.tolist() == [0.0, 0.0, 3.0, 3.0]
    assert found.strength_out.tolist() == [1.0, 5.0, 0.0, 0.0]


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("normalized", [True, False])
def test_betweenness_is_that_of_networkx(name: str, normalized: bool) -> None:
    graph = GRAPHS[name]
    expected = vector(nx.betweenness_centrality(to_networkx(graph), normalized=normalized))
    found = betweenness(graph, normalized=normalized)
    # Sums of at most 1e3 shares in another order: far below 1e-9 in float64.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", GRAPHS)
def test_weighted_betweenness_is_that_of_networkx(name: str) -> None:
    graph = GRAPHS[name]
    expected = vector(nx.betweenness_centrality(with_lengths(graph), weight="length"))
    found = betweenness(graph, lengths=1 / graph.weights)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["sparse", "dense"])
def test_products_and_edges_give_the_same_betweenness(name: str) -> None:
    graph, sources = GRAPHS[name], torch.tensor([0, 3, 5, 14, 20])
    products = centrality._by_products(graph, sources, torch.device("cpu"))
    edges = centrality._by_edges(graph, None, sources)
    torch.testing.assert_close(products, edges, rtol=0, atol=1e-9)


def test_products_stay_in_range_where_paths_are_beyond_float64() -> None:
    layers, width = 400, 8  # 8 ** 400 paths
    graph = LayeredGraph.chain([torch.ones(width, width, dtype=torch.float64)] * layers)
    found = betweenness(graph, normalized=False).reshape(layers + 1, width)
    depth = torch.arange(layers + 1, dtype=torch.float64)
    # Every pair of a unit in front and one behind shares its paths among the units of a layer.
    expected = depth * (layers - depth) * width
    torch.testing.assert_close(found[:, 0], expected, rtol=1e-9, atol=0)
    assert float(found.std(1).max()) < 1e-6 * float(expected.max())


def test_paths_beyond_float64_are_refused_where_they_cannot_be_scaled() -> None:
    layers, width = 400, 8
    eye = torch.ones(width, width, dtype=torch.float64)
    blocks = {(i, i + 1): eye for i in range(layers)}
    corner = torch.zeros(width, width, dtype=torch.float64)
    corner[0, 0] = 1
    graph = LayeredGraph.of_blocks([width] * (layers + 1), {**blocks, (0, 2): corner})
    with pytest.raises(StructureNetError, match="float64"):
        betweenness(graph)


def test_all_sources_are_the_exact_betweenness_and_some_are_unbiased() -> None:
    graph = GRAPHS["skips"]
    exact = betweenness(graph)
    every = torch.arange(graph.vertices).flip(0)
    torch.testing.assert_close(betweenness(graph, sources=every), exact, rtol=0, atol=1e-15)
    one = [betweenness(graph, sources=torch.tensor([v])) for v in range(graph.vertices)]
    torch.testing.assert_close(torch.stack(one).mean(0), exact, rtol=0, atol=1e-12)


def test_wrong_lengths_and_sources_are_refused() -> None:
    graph = GRAPHS["sparse"]
    with pytest.raises(ValueError, match="positive"):
        betweenness(graph, lengths=torch.zeros(graph.edges))
    with pytest.raises(ValueError, match="one per edge"):
        betweenness(graph, lengths=torch.ones(graph.edges + 1))
    with pytest.raises(ValueError, match="distinct"):
        betweenness(graph, sources=torch.tensor([1, 1]))


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("weighted", [True, False])
def test_pagerank_is_that_of_networkx(name: str, weighted: bool) -> None:
    graph = GRAPHS[name]
    weight = "weight" if weighted else None
    expected = vector(nx.pagerank(to_networkx(graph), weight=weight, tol=1e-14, max_iter=10_000))
    found = pagerank(graph, weighted=weighted)
    # networkx stops at a change of V * 1e-14 = 4e-13 in all.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)
    assert float(found.sum()) == pytest.approx(1.0, abs=1e-12)


def test_pagerank_without_restarts_is_refused() -> None:
    assert torch.allclose(pagerank(GRAPHS["dense"], damping=0.0), torch.tensor(1 / 37).double())
    with pytest.raises(ValueError, match="damping"):
        pagerank(GRAPHS["dense"], damping=1.0)
