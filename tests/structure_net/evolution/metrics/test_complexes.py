"""Betti numbers of nets as graphs, against closed forms and elimination by definition."""

from __future__ import annotations

from itertools import combinations, pairwise
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import coo_array
from torch import Tensor

from structure_net.evolution.metrics import (
    Unavailable,
    flag_betti_numbers,
    path_betti_numbers,
)
from structure_net.evolution.metrics.complexes import has_triangle, is_bipartite

Edges = list[tuple[int, int]]


def dense(sizes: tuple[int, ...]) -> Edges:
    starts = [sum(sizes[:k]) for k in range(len(sizes))]
    layers = [range(start, start + size) for start, size in zip(starts, sizes, strict=True)]
    return [(a, b) for one, other in pairwise(layers) for a in one for b in other]


def ends(edges: Edges) -> tuple[Tensor, Tensor]:
    both = torch.tensor(edges, dtype=torch.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def flag(edges: Edges, vertices: int, dimension: int = 2, **options):
    return flag_betti_numbers(*ends(edges), vertices, dimension=dimension, **options)


def by_definition(edges: Edges, vertices: int, dimension: int) -> tuple[int, ...]:
    """From the ranks of the boundary matrices of all cliques, in double precision."""
    joined = {frozenset(edge) for edge in edges}
    cliques = [
        [c for c in combinations(range(vertices), size)
         if all(frozenset(pair) in joined for pair in combinations(c, 2))]
        for size in range(1, dimension + 3)
    ]  # fmt: skip
    ranks = [0]
    for small, large in pairwise(cliques):
        index = {clique: row for row, clique in enumerate(small)}
        boundary = torch.zeros(len(small), len(large), dtype=torch.float64)
        for column, clique in enumerate(large):
            for k in range(len(clique)):
                boundary[index[clique[:k] + clique[k + 1 :]], column] = (-1) ** k
        ranks.append(int(torch.linalg.matrix_rank(boundary)) if boundary.numel() else 0)
    return tuple(len(cliques[k]) - ranks[k] - ranks[k + 1] for k in range(dimension + 1))


@pytest.mark.parametrize(
    ("sizes", "cycles"), [((4, 6), 15), ((3, 4, 5, 2), 29), ((1, 5), 0), ((784, 256, 10), 202215)]
)
def test_without_skips_the_holes_are_the_independent_cycles(sizes, cycles) -> None:
    edges = dense(sizes)
    assert cycles == len(edges) - sum(sizes) + 1
    assert flag(edges, sum(sizes), dimension=3) == (1, cycles, 0, 0)


def test_components_without_connections_count() -> None:
    assert flag([(0, 3), (1, 3)], 5) == (3, 0, 0)
    assert flag([], 4) == (4, 0, 0)


def test_a_skip_connection_fills_a_triangle() -> None:
    """Units 0 -> 1 -> 2 and a skip 0 -> 2: one cycle, filled."""
    assert flag([(0, 1), (1, 2)], 3) == (1, 0, 0)
    assert flag([(0, 1), (1, 2), (0, 2)], 3) == (1, 0, 0)
    assert flag([(0, 1), (1, 2), (2, 3), (0, 3)], 4) == (1, 1, 0)


def test_an_octahedron_is_a_sphere() -> None:
    """The complete graph of three layers of two units, with all skips."""
    edges = [(a, b) for a, b in combinations(range(6), 2) if a // 2 != b // 2]
    assert flag(edges, 6) == (1, 0, 1)


@pytest.mark.parametrize("seed", range(6))
def test_with_random_skips_it_is_the_homology_of_all_cliques(seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    pairs = list(combinations(range(11), 2))
    chosen = torch.rand(len(pairs), generator=generator) < 0.45
    edges = [pair for pair, taken in zip(pairs, chosen.tolist(), strict=True) if taken]
    assert flag(edges, 11) == by_definition(edges, 11, 2)


def test_direction_and_repetition_of_edges_do_not_matter_to_the_flag_complex() -> None:
    edges = [(0, 1), (1, 2), (0, 2), (2, 3)]
    assert flag([*edges, (1, 0), (0, 1)], 4) == flag(edges, 4)


def test_a_complex_over_the_limit_has_a_reason_and_no_number() -> None:
    complete = list(combinations(range(40), 2))
    missing = flag(complete, 40, limit=1000)
    assert isinstance(missing, Unavailable)
    assert "1000 are the limit" in missing.reason


@pytest.mark.parametrize(
    "sizes",
    [
        (3, 3), (2, 5), (1, 4), (3, 3, 3), (2, 3, 2), (4, 2, 3), (3, 1, 3), (2, 2, 2),
        (2, 3, 2, 3), (3, 2, 2, 2), (2, 2, 2, 2), (1, 2, 3, 1), (2, 2, 2, 2, 2),
    ],
)  # fmt: skip
def test_path_homology_of_a_dense_net_is_the_product_of_its_widths_less_one(sizes) -> None:
    layers = len(sizes) - 1
    found = path_betti_numbers(*ends(dense(sizes)), sum(sizes), dimension=layers)
    expected = [0] * (layers + 1)
    expected[0] = 1
    expected[layers] += prod(size - 1 for size in sizes)
    assert found == tuple(expected)


def test_the_published_cases_of_path_homology() -> None:
    found = {
        sizes: path_betti_numbers(*ends(dense(sizes)), sum(sizes), dimension=len(sizes) - 1)
        for sizes in [(3, 3, 3), (2, 3, 2, 3), (3, 1, 3)]
    }
    assert [values[-1] for values in found.values()] == [8, 4, 0]


def test_a_directed_square_is_filled_and_a_cycle_is_a_hole() -> None:
    square = path_betti_numbers(*ends([(0, 1), (0, 2), (1, 3), (2, 3)]), 4, dimension=1)
    assert square == (1, 0)
    cycle = path_betti_numbers(*ends([(0, 1), (1, 2), (2, 0)]), 3, dimension=1)
    assert cycle == (1, 1)
    back_and_forth = path_betti_numbers(*ends([(0, 1), (1, 0)]), 2, dimension=1)
    assert back_and_forth == (1, 0)


def test_a_triangle_with_a_skip_is_filled() -> None:
    assert path_betti_numbers(*ends([(0, 1), (1, 2), (0, 2)]), 3, dimension=1) == (1, 0)


def test_too_many_paths_have_a_reason_and_no_number() -> None:
    sizes = (30, 30, 30)
    missing = path_betti_numbers(*ends(dense(sizes)), 90, dimension=2)
    assert isinstance(missing, Unavailable)
    assert "10000 are the limit" in missing.reason


@pytest.mark.parametrize(
    ("edges", "bipartite", "triangle"),
    [
        ([(0, 1), (1, 2)], True, False),
        ([(0, 1), (1, 2), (0, 2)], False, True),
        ([(0, 1), (1, 2), (2, 3), (0, 3)], True, False),
        ([(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)], False, False),
    ],
    ids=["path", "triangle", "square", "pentagon"],
)
def test_the_kernels_tell_triangles_and_agree_with_plain_python(edges, bipartite, triangle) -> None:
    upper = coo_array((np.ones(len(edges)), tuple(zip(*edges, strict=True))), shape=(5, 5)).tocsr()
    cases: list[tuple[Any, Any, bool]] = [
        (upper + upper.T, is_bipartite, bipartite),
        (upper, has_triangle, triangle),
    ]
    for matrix, kernel, expected in cases:
        rows = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64)
        assert kernel(*rows) == kernel.__wrapped__(*rows) == expected


@pytest.mark.parametrize("betti", [flag_betti_numbers, path_betti_numbers])
def test_edges_out_of_range_and_loops_are_refused(betti) -> None:
    with pytest.raises(ValueError, match="vertices 0 to 2"):
        betti(*ends([(0, 3)]), 3, dimension=1)
    with pytest.raises(ValueError, match="with itself"):
        betti(*ends([(1, 1)]), 3, dimension=1)
