from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from structure_net.core import StandardSparseLayer, random_lines, random_pattern
from structure_net.core.drawing import free_places


@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_a_random_pattern_is_exact_and_leaves_no_unit_out(
    rows: int, columns: int, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, rows * columns))
    seed = data.draw(st.integers(0, 100))
    pattern = random_pattern((rows, columns), count, torch.Generator().manual_seed(seed))
    assert len(pattern) == count
    assert int((pattern.fan_in() > 0).sum()) >= min(rows, count)
    assert int((pattern.fan_out() > 0).sum()) >= min(columns, count)


@given(st.integers(0, 6), st.integers(1, 8), st.integers(0, 60))
def test_every_new_unit_gets_a_connection(lines: int, width: int, count: int) -> None:
    mask = random_lines(lines, width, count, torch.Generator().manual_seed(count))
    assert mask.shape == (lines, width)
    assert bool(mask.any(1).all())
    assert int(mask.sum()) == min(max(count, lines), lines * width)


def test_equal_seeds_draw_equal_patterns() -> None:
    first, second, other = (
        random_pattern((30, 40), 200, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert first == second
    assert first != other


@pytest.mark.parametrize("count", [12, 20, 30])
def test_every_place_is_equally_likely(count: int) -> None:
    """Each cell's frequency over 1000 draws is within 5 standard errors of ``count / cells``."""
    generator, draws, shape = torch.Generator().manual_seed(0), 1000, (5, 7)
    total = sum(
        random_pattern(shape, count, generator).mask().to(torch.float64) for _ in range(draws)
    )
    expected = count / 35
    error = (expected * (1 - expected) / draws) ** 0.5
    assert float((total / draws - expected).abs().max()) < 5 * error


@pytest.mark.parametrize("count", [0, 7])
def test_an_impossible_count_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=r"count must be in \[1, 6\]"):
        random_pattern((2, 3), count)


@pytest.mark.parametrize(("size", "count"), [(40, 3), (40, 17), (40, 99), (100_000, 50)])
def test_free_places_are_free_distinct_and_sorted(size: int, count: int) -> None:
    taken = torch.tensor([0, 7, 8, 39])
    found = free_places(taken, size, count, torch.Generator().manual_seed(0))
    assert len(found) == min(count, size - 4)
    assert bool((found.diff() > 0).all())
    assert int(found.max()) < size
    assert not set(found.tolist()) & set(taken.tolist())


def test_free_places_are_drawn_evenly() -> None:
    counts = torch.zeros(8)
    for seed in range(800):
        draw = torch.Generator().manual_seed(seed)
        counts[free_places(torch.tensor([2, 5]), 8, 1, draw)] += 1
    # Each of six with probability 1/6: 133 of 800, deviation 10.5.
    assert counts[[2, 5]].tolist() == [0, 0]
    assert bool(((counts[[0, 1, 3, 4, 6, 7]] - 800 / 6).abs() < 5 * 10.6).all())


def test_layers_made_where_nothing_can_be_drawn_are_refused() -> None:
    with torch.device("meta"), pytest.raises(ValueError, match="cannot be drawn on the meta"):
        StandardSparseLayer(8, 6, density=0.5)
