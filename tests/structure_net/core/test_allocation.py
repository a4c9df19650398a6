from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structure_net.core import (
    Allocation,
    connection_counts,
    erdos_renyi,
    erdos_renyi_kernel,
    layer_densities,
    uniform,
)

LENET = [(300, 784), (100, 300), (10, 100)]
RULES = ["uniform", "erdos_renyi", "erdos_renyi_kernel"]

shapes = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=5)
kernels = st.lists(
    st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 5), st.integers(1, 5)),
    min_size=1,
    max_size=5,
)


def test_lenet_at_two_percent_has_the_published_densities() -> None:
    """Printed with three figures: .0154, .0445, .367."""
    densities = erdos_renyi_kernel(LENET, 0.02)
    assert densities == pytest.approx((0.0154, 0.0445, 0.367), abs=5e-4)
    assert connection_counts(LENET, 0.02, "erdos_renyi_kernel") == (3621, 1336, 367)


def test_two_layers_have_the_closed_form() -> None:
    """One budget, density proportional to (n + m) / (n m): epsilon is 12 / (7 + 13)."""
    assert erdos_renyi([(3, 4), (3, 10)], 12 / 42) == pytest.approx((0.6 * 7 / 12, 0.6 * 13 / 30))


def test_a_capped_layer_leaves_its_surplus_to_the_others() -> None:
    """The 1 x 9 layer would get more than 1; the other gets the 51 - 9 that remain."""
    assert erdos_renyi([(1, 9), (10, 10)], 51 / 109) == pytest.approx((1, 0.42))


def test_kernels_count_among_the_dimensions() -> None:
    """Sums of dimensions 4 + 2 + 3 + 3 and 8 + 4 + 1 + 1 share a budget of 26."""
    shapes = [(4, 2, 3, 3), (8, 4, 1, 1)]
    assert erdos_renyi_kernel(shapes, 26 / 104) == pytest.approx((12 / 72, 14 / 32))
    assert erdos_renyi(shapes, 26 / 104) == pytest.approx((26 * 54 / 66 / 72, 26 * 12 / 66 / 32))


@given(kernels, st.floats(0.001, 1))
def test_densities_are_bounded_and_meet_the_budget(
    shapes: list[tuple[int, ...]], density: float
) -> None:
    sizes = [math.prod(shape) for shape in shapes]
    for rule in (uniform, erdos_renyi, erdos_renyi_kernel):
        densities = rule(shapes, density)
        total = sum(d * size for d, size in zip(densities, sizes, strict=True))
        assert all(0 < d <= 1 + 1e-12 for d in densities)
        assert total == pytest.approx(density * sum(sizes), rel=1e-9)


@given(shapes, st.floats(0.001, 1), st.sampled_from(RULES))
def test_counts_are_whole_and_add_up(
    shapes: list[tuple[int, int]], density: float, rule: Allocation
) -> None:
    counts = connection_counts(shapes, density, rule)
    sizes = [n * m for n, m in shapes]
    budget = max(round(density * sum(sizes)), len(shapes))
    assert sum(counts) == budget
    assert all(1 <= count <= size for count, size in zip(counts, sizes, strict=True))
    if sum(max(shape) for shape in shapes) <= budget:
        assert all(count >= max(shape) for count, shape in zip(counts, shapes, strict=True))
    elif sum(shape[0] for shape in shapes) <= budget:
        assert all(count >= shape[0] for count, shape in zip(counts, shapes, strict=True))


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"density must be in \(0, 1\]; got 1.5"):
        uniform(LENET, 1.5)
    with pytest.raises(ValueError, match="got nan"):
        uniform(LENET, float("nan"))
    with pytest.raises(ValueError, match="allocation must be one of uniform, erdos_renyi"):
        layer_densities(LENET, 0.1, "magnitude")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="all positive"):
        erdos_renyi([(3, 0)], 0.5)


@pytest.mark.parametrize("allocation", ["uniform", "erdos_renyi", "erdos_renyi_kernel"])
def test_no_layer_falls_below_one_connection_for_each_of_its_units(allocation: Allocation) -> None:
    shapes = [(100, 100), (400, 100), (10, 400)]
    counts = connection_counts(shapes, 0.02, allocation)
    assert counts[2] == 400
    assert sum(counts) == 1080
    if allocation == "uniform":
        assert counts == (136, 544, 400)
    assert connection_counts(shapes, 0.005, "uniform") == (50, 200, 20)
