"""Distances of diagrams: against all matchings, and as distances must be."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch
from torch import Tensor

from structure_net.evolution.metrics import (
    Unavailable,
    bottleneck_distance,
    wasserstein_distance,
)

EMPTY = torch.empty(0, 2)


def bars(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    births = torch.rand(count, generator=generator, dtype=torch.float64)
    lengths = torch.rand(count, generator=generator, dtype=torch.float64)
    return torch.stack([births, births + lengths], 1)


def all_matchings(first: Tensor, second: Tensor) -> list[list[float]]:
    """The prices in every matching of two diagrams."""
    count, other = len(first), len(second)
    found = []
    for order in permutations(range(count + other)):
        prices = []
        for i, j in enumerate(order):
            if i < count and j < other:
                prices.append(float((first[i] - second[j]).abs().max()))
            elif i < count:
                prices.append(float(first[i, 1] - first[i, 0]) / 2)
            elif j < other:
                prices.append(float(second[j, 1] - second[j, 0]) / 2)
        found.append(prices)
    return found


@pytest.mark.parametrize(("count", "other"), [(3, 4), (2, 2), (0, 3), (4, 3)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_both_distances_are_the_least_over_all_matchings(count, other, seed) -> None:
    first, second = bars(count, seed), bars(other, seed + 10)
    found = all_matchings(first, second)
    for order in (1.0, 2.0):
        least = min(sum(price**order for price in prices) for prices in found) ** (1 / order)
        assert wasserstein_distance(first, second, order) == pytest.approx(least, abs=1e-10)
    least = min(max(prices, default=0.0) for prices in found)
    assert bottleneck_distance(first, second) == pytest.approx(least, abs=1e-10)


def test_a_bar_dies_at_half_its_length() -> None:
    assert wasserstein_distance(torch.tensor([[0.0, 3.0]]), EMPTY) == 1.5
    assert bottleneck_distance(torch.tensor([[0.0, 3.0]]), EMPTY) == 1.5


def test_they_are_distances() -> None:
    one, two, three = bars(12, 0), bars(15, 1), bars(9, 2)
    for distance in (wasserstein_distance, bottleneck_distance):
        assert distance(one, one) == pytest.approx(0, abs=1e-12)
        assert distance(one, two) == pytest.approx(float(distance(two, one)), abs=1e-10)
        assert distance(one, three) <= distance(one, two) + distance(two, three) + 1e-10


def test_bars_on_the_diagonal_cost_nothing() -> None:
    more = torch.cat([bars(5, 0), torch.tensor([[0.3, 0.3]])])
    assert bottleneck_distance(bars(5, 0), more) == 0
    assert wasserstein_distance(bars(5, 0), more) == 0


def test_bars_that_never_end_are_matched_by_their_births() -> None:
    one = torch.tensor([[0.0, math.inf], [1.0, math.inf]])
    two = torch.tensor([[1.5, math.inf], [0.0, math.inf]])
    assert wasserstein_distance(one, two) == 0.5
    assert bottleneck_distance(one, two) == 0.5


def test_another_number_of_bars_that_never_end_is_infinitely_far() -> None:
    for distance in (wasserstein_distance, bottleneck_distance):
        missing = distance(torch.tensor([[0.0, math.inf]]), EMPTY)
        assert isinstance(missing, Unavailable)
        assert "infinitely far apart" in missing.reason


def test_the_order_is_checked() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        wasserstein_distance(EMPTY, EMPTY, 0.5)
