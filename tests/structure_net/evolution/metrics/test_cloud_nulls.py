from __future__ import annotations

import math

import pytest
import torch

from structure_net.evolution.metrics import (
    CloudNull,
    PersistenceDiagrams,
    Unavailable,
    euclidean_distances,
    persistence_diagrams,
    shuffled_clouds,
)


def circle(points: int = 60) -> torch.Tensor:
    angle = torch.arange(points, dtype=torch.float64) * (2 * math.pi / points)
    return torch.stack([angle.cos(), angle.sin()], 1)


def longest_loop(points: torch.Tensor) -> float:
    found = persistence_diagrams(euclidean_distances(points))
    assert isinstance(found, PersistenceDiagrams)
    bars = found.finite(1)
    return float((bars[:, 1] - bars[:, 0]).max()) if len(bars) else 0.0


def null_of(points: torch.Tensor, seed: int = 0) -> CloudNull:
    found = shuffled_clouds(points, seed=seed)
    assert isinstance(found, CloudNull)
    return found


def test_the_hole_of_a_circle_is_longer_than_chance() -> None:
    null = null_of(circle())
    assert longest_loop(circle()) > null.bound(1, 1.0)


def test_loops_of_independent_units_are_as_long_as_chance() -> None:
    """The cloud is one more draw from its null, so that it is the longest of 21 once in 21."""
    generator = torch.Generator().manual_seed(0)
    beyond = 0
    for seed in range(20):
        points = torch.randn(30, 3, generator=generator, dtype=torch.float64)
        beyond += longest_loop(points) > null_of(points, seed).bound(1, 1.0)
    # Of a binomial with 20 tries at 1/21, more than 5 come up with a probability below .001.
    assert beyond <= 5


def test_each_unit_keeps_its_values() -> None:
    points = circle(12)
    seen: list[torch.Tensor] = []

    def measure(cloud: torch.Tensor) -> Unavailable:
        seen.append(cloud)
        return Unavailable("seen enough")

    assert shuffled_clouds(points, diagrams=measure) == Unavailable("seen enough")
    assert not torch.equal(seen[0], points)
    assert torch.equal(seen[0].sort(0).values, points.sort(0).values)


def test_the_same_seed_gives_the_same_null() -> None:
    one, two, other = (null_of(circle(20), seed).longest[1] for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_the_bound_is_the_length_that_hardly_any_draw_exceeds() -> None:
    null = CloudNull({1: torch.arange(1, 21, dtype=torch.float64)})
    assert null.bound(1, 1.0) == 20
    assert null.bound(1) == 20
    assert null.bound(1, 0.5) == 11


def test_points_that_coincide_have_no_null() -> None:
    assert isinstance(shuffled_clouds(torch.ones(5, 2)), Unavailable)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="samples must be 2 or more; got 1"):
        shuffled_clouds(circle(), samples=1)
    with pytest.raises(ValueError, match="level must be in"):
        CloudNull({1: torch.ones(2)}).bound(1, 2.0)
