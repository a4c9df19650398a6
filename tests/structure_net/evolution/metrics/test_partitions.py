from __future__ import annotations

import networkx as nx
import pytest
import torch

from structure_net.evolution.metrics import (
    AgainstNull,
    Communities,
    LayeredGraph,
    Unavailable,
    communities,
    modularity,
    modularity_against_null,
)
from structure_net.evolution.metrics.accelerated import to_networkx
from tests.structure_net.evolution.metrics.graph_cases import random_graph


def planted(parts: int = 3, width: int = 8, noise: float = 0.0, seed: int = 0) -> LayeredGraph:
    """Parallel networks beside each other, joined by a few random connections."""
    generator = torch.Generator().manual_seed(seed)
    block = torch.block_diag(*[torch.ones(width, width, dtype=torch.float64)] * parts)
    mixed = [
        ((block > 0) | (torch.rand(block.shape, generator=generator) < noise)).double()
        for _ in range(2)
    ]
    return LayeredGraph.chain(mixed)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("skips", [0.0, 0.2])
def test_modularity_is_that_of_networkx(weighted: bool, skips: float) -> None:
    graph = random_graph(skips=skips)
    plain = to_networkx(graph, directed=False)
    found = communities(graph, weighted=weighted)
    assert isinstance(found, Communities)
    parts = [set((found.labels == c).nonzero().flatten().tolist()) for c in range(found.count)]
    expected = nx.community.modularity(plain, parts, weight="weight" if weighted else None)
    assert float(found.modularity) == pytest.approx(expected, abs=1e-12)
    assert float(modularity(graph, found.labels, weighted=weighted)) == found.modularity


def test_communities_are_as_good_as_those_of_networkx() -> None:
    graph = random_graph((40, 40, 30, 20), density=0.15)
    plain = to_networkx(graph, directed=False)
    theirs = [
        nx.community.modularity(plain, nx.community.louvain_communities(plain, seed=seed))
        for seed in range(5)
    ]
    ours = [float(communities(graph, seed=seed).modularity) for seed in range(5)]
    # Both are local optima of the same method in other orders; they differ by about .01.
    assert max(ours) > max(theirs) - 0.01


def test_planted_communities_are_found() -> None:
    found = communities(planted(noise=0.05))
    expected = torch.arange(3).repeat_interleave(8).repeat(3)
    assert torch.equal(found.labels, expected)
    assert float(communities(planted()).modularity) == pytest.approx(1 - 1 / 3, abs=1e-12)


def test_the_same_seed_gives_the_same_communities() -> None:
    graph = random_graph((40, 40, 30), density=0.1)
    first, second = communities(graph, seed=3), communities(graph, seed=3)
    assert torch.equal(first.labels, second.labels)
    assert first.modularity == second.modularity


def test_a_unit_without_connections_is_a_community_by_itself() -> None:
    graph = LayeredGraph.chain([torch.tensor([[1.0, 0.0], [1.0, 0.0]])])
    assert communities(graph).labels.tolist() == [0, 1, 0, 0]


def test_a_graph_without_connections_has_no_modularity() -> None:
    empty = LayeredGraph.chain([torch.zeros(2, 2)])
    assert isinstance(communities(empty).modularity, Unavailable)
    assert isinstance(modularity_against_null(empty), Unavailable)


def test_wrong_labels_are_refused() -> None:
    graph = random_graph()
    with pytest.raises(ValueError, match="labels"):
        modularity(graph, torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="samples"):
        modularity_against_null(graph, samples=1)


def test_a_random_graph_is_not_more_modular_than_its_null_and_a_planted_one_is() -> None:
    random = modularity_against_null(random_graph((40, 40, 30, 20), density=0.15))
    structured = modularity_against_null(planted(noise=0.05))
    assert isinstance(random, AgainstNull)
    assert isinstance(structured, AgainstNull)
    # A random graph has a modularity well above 0, too: only the null model tells them apart.
    assert random.value > 0.2
    assert abs(float(random.z)) < 4
    assert float(structured.z) > 10
