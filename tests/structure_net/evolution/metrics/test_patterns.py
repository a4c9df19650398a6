from __future__ import annotations

from itertools import combinations

import networkx as nx
import numpy as np
import pytest
import torch

from structure_net.evolution.metrics import (
    Clustering,
    LayeredGraph,
    Motifs,
    Unavailable,
    clustering,
    motifs,
    patterns,
)
from structure_net.evolution.metrics.accelerated import to_networkx
from tests.structure_net.evolution.metrics.graph_cases import random_graph, vector

GRAPHS = {
    "chain": random_graph(),
    "sparse": random_graph(density=0.06),
    "skips": random_graph(density=0.25, skips=0.2),
    "thick": random_graph(density=0.7, skips=0.6),
    "dense": random_graph((4, 5, 3), density=1.1, skips=1.1),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_clustering_is_that_of_networkx(name: str) -> None:
    graph, plain = GRAPHS[name], to_networkx(GRAPHS[name], directed=False)
    found = clustering(graph)
    assert isinstance(found, Clustering)
    torch.testing.assert_close(found.square, vector(nx.square_clustering(plain)))
    torch.testing.assert_close(found.triangle, vector(nx.clustering(plain)))
    expected = nx.bipartite.robins_alexander_clustering(plain)
    assert float(found.bipartite) == pytest.approx(expected, abs=1e-12)
    assert found.triangles == sum(nx.triangles(plain).values()) // 3
    assert found.squares == sum(len(cycle) == 4 for cycle in nx.simple_cycles(plain, 4))
    if isinstance(found.transitivity, float):
        assert found.transitivity == pytest.approx(nx.transitivity(plain), abs=1e-12)


@pytest.mark.parametrize("name", GRAPHS)
def test_products_of_blocks_count_what_steps_along_edges_count(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = GRAPHS[name]
    monkeypatch.setattr(patterns, "_ROWS", 5)
    found = {}
    for gain in (0, 1e9):
        monkeypatch.setattr(patterns, "_PRODUCTS_GAIN", gain)
        found[gain] = (clustering(graph), motifs(graph))
    (by_steps, few), (by_products, others) = found.values()
    assert few == others
    assert torch.equal(by_steps.square, by_products.square)
    assert torch.equal(by_steps.triangle, by_products.triangle)
    assert by_steps.bipartite == by_products.bipartite
    assert (by_steps.squares, by_steps.triangles) == (by_products.squares, by_products.triangles)


def test_triangles_need_skip_connections() -> None:
    found = clustering(GRAPHS["chain"])
    assert float(found.triangle.abs().max()) == 0.0
    assert found.triangles == 0
    assert isinstance(found.transitivity, Unavailable)
    assert "skip" in found.transitivity.reason
    assert clustering(GRAPHS["skips"]).triangles > 0


def test_complete_layers_close_every_path_of_three() -> None:
    found = clustering(LayeredGraph.chain([torch.ones(4, 3)]))
    assert found.bipartite == 1.0
    assert found.squares == 3 * 6
    assert torch.equal(found.square, torch.ones(7, dtype=torch.float64))


def test_a_graph_without_paths_of_three_has_no_bipartite_clustering() -> None:
    assert isinstance(clustering(LayeredGraph.chain([torch.ones(3, 1)])).bipartite, Unavailable)


@pytest.mark.parametrize("name", GRAPHS)
def test_motifs_are_those_of_a_search_through_all_subgraphs(name: str) -> None:
    graph = GRAPHS[name]
    matrix = np.zeros((graph.vertices, graph.vertices), dtype=int)
    matrix[graph.tails, graph.heads] = 1
    fed = [set(np.flatnonzero(row)) for row in matrix]
    bifans = sum(
        len(list(combinations(fed[one] & fed[other], 2)))
        for one, other in combinations(range(graph.vertices), 2)
    )
    loops = int(((matrix @ matrix) * matrix).sum())
    assert motifs(graph) == Motifs(bifans, loops)


def test_feed_forward_loops_need_skip_connections() -> None:
    assert motifs(GRAPHS["chain"]).feed_forward_loops == 0
    triangle = {(0, 1): torch.ones(1, 1), (0, 2): torch.ones(1, 1), (1, 2): torch.ones(1, 1)}
    assert motifs(LayeredGraph.of_blocks((1, 1, 1), triangle)) == Motifs(0, 1)
    assert motifs(LayeredGraph.chain([torch.ones(2, 2)])) == Motifs(1, 0)
