"""Every engine finds the weights of a maximum spanning forest."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from structure_net.evolution.metrics.forests import (
    dense_forest,
    dense_merge_ranks,
    grown_forest,
    kruskal,
    merge_ranks,
    prim,
    random_dense_merges,
    random_merges,
    sparse_forest,
)

SHAPES = [(1, 1), (1, 6), (7, 1), (5, 3), (40, 30)]


def graph(rows, columns, weights, shape):
    made = nx.Graph()
    made.add_nodes_from(range(sum(shape)))
    edges = zip(rows.tolist(), (columns + shape[0]).tolist(), weights.tolist(), strict=True)
    made.add_weighted_edges_from(edges)
    return made


def by_networkx(rows, columns, weights, shape):
    forest = nx.maximum_spanning_edges(graph(rows, columns, weights, shape), data=True)
    return sorted((data["weight"] for _, _, data in forest), reverse=True)


def full(shape):
    return np.divmod(np.arange(shape[0] * shape[1]), shape[1])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("engine", ["auto", "kruskal", "prim"])
@pytest.mark.parametrize("levels", [3, 10**9])
def test_every_engine_finds_the_weights_of_a_maximum_spanning_tree(shape, engine, levels) -> None:
    weights = np.random.default_rng(0).integers(levels, size=shape).astype(np.float64)
    forest = dense_forest(weights, engine=engine)
    assert forest.weights.tolist() == by_networkx(*full(shape), weights.reshape(-1), shape)
    assert weights[forest.rows, forest.columns].tolist() == forest.weights.tolist()
    assert forest.components == 1


@pytest.mark.parametrize("small", [0, 1])
def test_one_unit_of_small_weights_does_not_change_the_result(small) -> None:
    weights = np.abs(np.random.default_rng(1).normal(size=(60, 50)))
    weights[small] *= 1e-6
    auto, sorting = dense_forest(weights), dense_forest(weights, engine="kruskal")
    assert np.array_equal(auto.weights, sorting.weights)


def test_a_slim_layer_is_sorted_where_no_leading_edges_span() -> None:
    """Of 300 units with two weights each, the weakest leaves nearly all edges in play."""
    weights = np.random.default_rng(7).random((2, 300))
    auto, tree = dense_forest(weights), dense_forest(weights, engine="prim")
    assert np.array_equal(auto.weights, tree.weights)


@pytest.mark.parametrize("drift", [1e-3, 1.0])
def test_a_start_from_earlier_weights_changes_nothing(drift) -> None:
    generator = np.random.default_rng(2)
    before = np.abs(generator.normal(size=(60, 50))).astype(np.float32)
    after = np.abs(before + drift * generator.normal(size=before.shape)).astype(np.float32)
    warm = dense_forest(after, start=dense_forest(before))
    assert np.array_equal(warm.weights, dense_forest(after, engine="prim").weights)


def test_a_start_of_another_shape_is_passed_over() -> None:
    weights = np.abs(np.random.default_rng(3).normal(size=(9, 8)))
    start = dense_forest(weights[:5])
    assert np.array_equal(dense_forest(weights, start=start).weights, dense_forest(weights).weights)


@pytest.mark.parametrize("density", [0.02, 0.1, 0.5])
def test_a_sparse_forest_has_a_merge_less_than_units_for_each_component(density) -> None:
    generator = np.random.default_rng(4)
    shape = (40, 30)
    rows, columns = np.nonzero(generator.random(shape) < density)
    weights = generator.random(len(rows))
    forest = sparse_forest(rows, columns, weights, shape)
    parts = nx.number_connected_components(graph(rows, columns, weights, shape))
    assert forest.components == parts
    assert len(forest.weights) == forest.vertices - parts
    assert forest.weights.tolist() == by_networkx(rows, columns, weights, shape)


def test_a_layer_that_grew_needs_its_forest_and_the_new_edges_only() -> None:
    weights = np.abs(np.random.default_rng(5).normal(size=(30, 20)))
    old = dense_forest(np.ascontiguousarray(weights[:, :14]))
    rows, columns = np.divmod(np.arange(30 * 6), 6)
    grown = grown_forest(old, rows, columns + 14, weights[rows, columns + 14], (30, 20))
    assert np.array_equal(grown.weights, dense_forest(weights).weights)


def test_a_forest_does_not_shrink() -> None:
    none = np.empty(0, np.int64)
    with pytest.raises(ValueError, match="Compute it anew"):
        grown_forest(dense_forest(np.ones((3, 3))), none, none, np.empty(0), (3, 2))


def test_random_merges_are_those_of_shuffled_weights() -> None:
    """The mean over 4000 shuffles of each merge's rank, to 5 standard errors."""
    shape, samples = (4, 3), 4000
    ranks = random_dense_merges(shape, samples=samples, seed=0)
    generator = np.random.default_rng(1)
    rows, columns = full(shape)
    slow = np.empty((samples, 6))
    for sample in range(samples):
        order = generator.permutation(12)
        slow[sample] = kruskal(rows[order], columns[order] + 4, 7)
    error = np.sqrt((ranks.var(0) + slow.var(0)) / samples)
    assert (np.abs(ranks.mean(0) - slow.mean(0)) <= 5 * error).all()


def test_random_merges_with_repeated_draws_have_distinct_ranks_and_repeat_with_the_seed() -> None:
    shape = (60, 50)
    ranks = random_merges(*full(shape), shape, samples=5, seed=7)
    assert ranks.shape == (5, 109)
    assert (np.diff(ranks, axis=1) > 0).all()
    assert np.array_equal(ranks, random_dense_merges(shape, samples=5, seed=7))
    assert not np.array_equal(ranks, random_dense_merges(shape, samples=5, seed=8))


def test_random_merges_of_a_graph_in_parts_stop_at_the_parts() -> None:
    rows, columns = np.array([0, 0, 1]), np.array([0, 1, 2])
    ranks = random_merges(rows, columns, (3, 3), samples=4, seed=0)
    assert ranks.tolist() == [[0, 1, 2]] * 4


def test_the_kernels_agree_with_their_functions_in_plain_python() -> None:
    weights = np.random.default_rng(6).random((6, 5))
    rows, columns = full((6, 5))
    draws = np.random.default_rng(6).integers(30, size=300)
    assert np.array_equal(prim(weights), prim.__wrapped__(weights))
    assert np.array_equal(
        kruskal(rows, columns + 6, 11), kruskal.__wrapped__(rows, columns + 6, 11)
    )
    arguments = (draws, rows, columns + 6, 11, 10)
    assert np.array_equal(merge_ranks(*arguments), merge_ranks.__wrapped__(*arguments))
    dense = dense_merge_ranks(draws, 6, 5)
    assert np.array_equal(dense, dense_merge_ranks.__wrapped__(draws, 6, 5))
    assert np.array_equal(dense, merge_ranks(*arguments))
