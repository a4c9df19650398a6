from __future__ import annotations

import pytest
import torch

from structure_net.evolution.metrics import (
    AgainstNull,
    LayeredGraph,
    Unavailable,
    against_null,
    degrees,
    motifs,
    rewired,
)
from tests.structure_net.evolution.metrics.graph_cases import random_graph


def test_rewiring_keeps_the_degrees_of_every_unit_in_every_block() -> None:
    graph = random_graph((30, 25, 20), density=0.2, skips=0.2)
    null = rewired(graph, seed=1)
    assert not torch.equal(null.heads, graph.heads)
    for before, after in zip(graph.blocks, null.blocks, strict=True):
        assert (before.source, before.target) == (after.source, after.target)
        assert torch.equal(before.tails.bincount(), after.tails.bincount())
        assert torch.equal(before.heads.bincount(), after.heads.bincount())
        assert torch.equal(before.weights.sort().values, after.weights.sort().values)


def test_rewiring_forgets_where_it_came_from() -> None:
    graph = random_graph((60, 60), density=0.1)
    keys = set(zip(graph.tails.tolist(), graph.heads.tolist(), strict=True))
    null = rewired(graph, seed=0)
    again = set(zip(null.tails.tolist(), null.heads.tolist(), strict=True))
    # A tenth of all pairs is connected, so that about a tenth is met by chance.
    assert len(keys & again) / len(keys) < 0.25


def test_dense_blocks_keep_their_connections_and_shuffle_their_weights() -> None:
    graph = LayeredGraph.chain([torch.arange(1.0, 13.0).reshape(4, 3)])
    null = rewired(graph, seed=0)
    assert torch.equal(null.tails, graph.tails)
    assert torch.equal(null.heads, graph.heads)
    assert not torch.equal(null.weights, graph.weights)


def test_the_same_seed_gives_the_same_graph() -> None:
    graph = random_graph(skips=0.1)
    assert torch.equal(rewired(graph, seed=5).heads, rewired(graph, seed=5).heads)
    assert not torch.equal(rewired(graph, seed=5).heads, rewired(graph, seed=6).heads)


def test_what_degrees_determine_does_not_vary() -> None:
    found = against_null(random_graph(), lambda g: float(degrees(g).fan_in.double().var()))
    assert isinstance(found.z, Unavailable)
    assert found.value == pytest.approx(found.null_mean, rel=1e-12)
    assert found.null_std == 0.0


def test_planted_motifs_stand_out_from_the_null() -> None:
    block = torch.block_diag(*[torch.ones(4, 4)] * 10)
    found = against_null(LayeredGraph.chain([block]), lambda g: float(motifs(g).bifans))
    assert isinstance(found, AgainstNull)
    assert found.value == 10 * 36
    assert float(found.z) > 5


def test_one_sample_has_no_spread() -> None:
    with pytest.raises(ValueError, match="samples"):
        against_null(random_graph(), lambda graph: 0.0, samples=1)
