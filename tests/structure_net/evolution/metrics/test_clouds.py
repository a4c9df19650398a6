"""Diagrams of clouds whose homology is known, exactly or by the gap between holes and noise."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from torch import Tensor

from structure_net.errors import StructureNetError
from structure_net.evolution.metrics import (
    PersistenceDiagrams,
    Unavailable,
    betti_curve,
    common_scales,
    euclidean_distances,
    farthest_points,
    gap_ratio,
    geodesic_distances,
    persistence_diagrams,
    persistence_entropy,
    total_persistence,
)

SQRT2 = math.sqrt(2)


def random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def diagrams(points: Tensor, dimension: int = 1) -> PersistenceDiagrams:
    found = persistence_diagrams(euclidean_distances(points), dimension=dimension)
    assert isinstance(found, PersistenceDiagrams)
    return found


def circle(angles: Tensor) -> Tensor:
    return torch.stack([angles.cos(), angles.sin()], 1)


def polygon(corners: int) -> Tensor:
    return circle(2 * math.pi * torch.arange(corners, dtype=torch.float64) / corners)


def sampled_circle(count: int, seed: int, shift: float = 0.0) -> Tensor:
    angles = 2 * math.pi * torch.rand(count, generator=random(seed), dtype=torch.float64)
    return circle(angles) + torch.tensor([shift, 0.0], dtype=torch.float64)


def torus(count: int, seed: int) -> Tensor:
    """The torus of radii 2 and 1 in space, 300 points spread over 4000."""
    u, v = 2 * math.pi * torch.rand(2, count, generator=random(seed), dtype=torch.float64)
    around = 2 + v.cos()
    points = torch.stack([around * u.cos(), around * u.sin(), v.sin()], 1)
    return points[farthest_points(points, 300)]


def flat_torus(count: int, seed: int) -> Tensor:
    u, v = 2 * math.pi * torch.rand(2, count, generator=random(seed), dtype=torch.float64)
    points = torch.cat([circle(u), circle(v)], 1)
    return points[farthest_points(points, 300)]


@pytest.mark.parametrize(
    ("corners", "birth", "death"),
    [(12, 0.517638, 1.732051), (31, 0.202337, 1.795609), (100, 0.062822, 1.752613)],
)
def test_a_regular_polygon_has_one_loop(corners, birth, death) -> None:
    found = diagrams(polygon(corners))
    (bar,) = found.pairs[1].tolist()
    assert bar == pytest.approx([birth, death], abs=1e-6)
    chord = [2 * math.sin(math.pi * steps / corners) for steps in (1, math.ceil(corners / 3))]
    assert bar == pytest.approx(chord, abs=1e-6)
    assert len(found.finite(0)) == corners - 1


@pytest.mark.parametrize("axes", [3, 4], ids=["octahedron", "16-cell"])
def test_a_cross_polytope_is_a_sphere_between_its_edge_and_its_diagonal(axes) -> None:
    points = torch.cat([torch.eye(axes), -torch.eye(axes)]).double()
    found = diagrams(points, dimension=axes - 1)
    assert found.pairs[axes - 1].tolist() == [pytest.approx([SQRT2, 2], abs=1e-6)]
    assert all(not len(found.pairs[k]) for k in range(1, axes - 1))


@pytest.mark.parametrize(
    ("points", "dimension", "holes"),
    [
        (sampled_circle(200, 0), 1, 1),
        (torch.cat([sampled_circle(150, 1), sampled_circle(150, 2, 4.0)]), 1, 2),
        (torch.cat([sampled_circle(150, 3), sampled_circle(150, 4, 2.0)]), 1, 2),
        (torch.nn.functional.normalize(torch.randn(200, 3, generator=random(5)).double()), 2, 1),
        (torus(4000, 6), 1, 2),
        (flat_torus(4000, 7), 1, 2),
    ],
    ids=["circle", "two circles", "figure eight", "sphere", "torus", "flat torus"],
)
def test_the_holes_of_a_sampled_space_stand_out(points, dimension, holes) -> None:
    bars = diagrams(points, dimension).pairs[dimension]
    assert gap_ratio(bars, holes) >= 2.5


def test_the_void_of_a_sampled_torus_stands_out() -> None:
    assert gap_ratio(diagrams(torus(4000, 6), 2).pairs[2], 1) >= 2.5


def test_two_circles_are_two_components_up_to_their_distance() -> None:
    found = diagrams(torch.cat([polygon(40), polygon(40) + torch.tensor([4.0, 0.0])]))
    assert found.betti(0, 1.0) == 2
    assert found.betti(1, 1.0) == 2
    assert found.betti(0, 2.1) == 1
    assert float(found.finite(0)[0, 1]) == pytest.approx(2.0, abs=1e-6)


def test_distances_along_a_spiral_unroll_it() -> None:
    angles = torch.linspace(2 * math.pi, 6 * math.pi, 300, dtype=torch.float64)
    points = angles[:, None] * circle(angles)
    steps = (points[1:] - points[:-1]).norm(dim=1)
    along = geodesic_distances(euclidean_distances(points), 2)
    assert isinstance(along, Tensor)
    # A second neighbour cuts off a corner here and there.
    assert float(along[0, -1]) == pytest.approx(float(steps.sum()), rel=1e-5)
    hops = geodesic_distances(euclidean_distances(points), 2, hops=True)
    assert isinstance(hops, Tensor)
    assert float(hops[0, -1]) == pytest.approx(299, abs=2)


def test_clouds_that_no_path_joins_stay_apart_for_ever() -> None:
    points = torch.cat([polygon(30), polygon(30) + torch.tensor([50.0, 0.0])])
    along = geodesic_distances(euclidean_distances(points), 2)
    assert isinstance(along, Tensor)
    assert bool(along[0, 40].isinf())
    found = persistence_diagrams(along)
    assert isinstance(found, PersistenceDiagrams)
    assert int(found.pairs[0][:, 1].isinf().sum()) == 2
    assert len(found.finite(0)) == 58
    assert len(found.pairs[1]) == 2


def test_copies_of_a_point_are_joined_at_distance_nothing() -> None:
    points = torch.cat([polygon(10), polygon(10)])
    along = geodesic_distances(euclidean_distances(points), 4)
    assert isinstance(along, Tensor)
    assert bool(along.isfinite().all())
    assert float(along[0, 10]) == pytest.approx(0, abs=1e-12)


def test_a_diagram_does_not_depend_on_the_order_of_the_points() -> None:
    points = torch.randn(60, 5, generator=random(1), dtype=torch.float64)
    shuffled = points[torch.randperm(60, generator=random(2))]
    for k in (0, 1):
        first, second = diagrams(points).pairs[k], diagrams(shuffled).pairs[k]
        assert torch.allclose(first, second, rtol=0, atol=1e-6)


def test_a_betti_curve_counts_bars_from_birth_until_before_death() -> None:
    bars = torch.tensor([[0.0, 1.0], [0.0, math.inf], [0.5, 2.0]])
    scales = torch.tensor([0.0, 0.5, 1.0, 2.0])
    assert betti_curve(bars, scales).tolist() == [2, 3, 2, 1]


def test_bars_that_never_end_are_left_out_of_sums() -> None:
    bars = torch.tensor([[0.0, 3.0], [0.0, math.inf], [0.5, 1.5]])
    assert total_persistence(bars) == 4
    assert total_persistence(bars, order=2) == 10
    expected = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert persistence_entropy(bars) == pytest.approx(expected, abs=1e-6)


def test_equal_bars_have_the_entropy_of_their_number() -> None:
    bars = torch.tensor([[0.0, 2.0]] * 8)
    assert persistence_entropy(bars) == pytest.approx(math.log(8), abs=1e-6)


def test_the_gap_ratio_is_infinite_without_noise_and_missing_without_holes() -> None:
    bars = torch.tensor([[0.0, 2.0], [0.0, 1.0]])
    assert gap_ratio(bars, 1) == 2
    assert gap_ratio(bars, 2) == math.inf
    missing = gap_ratio(bars, 3)
    assert isinstance(missing, Unavailable)
    assert "there are 2 bars" in missing.reason


def test_scales_span_the_largest_cloud() -> None:
    scales = common_scales([diagrams(polygon(6)), diagrams(3 * polygon(6))], count=7)
    assert scales.tolist() == pytest.approx([0, 1, 2, 3, 4, 5, 6], abs=1e-6)
    with pytest.raises(ValueError, match="no diagram"):
        common_scales([])


def test_farthest_points_spread() -> None:
    line = torch.linspace(0, 1, 101)[:, None]
    assert sorted(farthest_points(line, 3).tolist()) == [0, 50, 100]
    with pytest.raises(ValueError, match="between 1 and 101"):
        farthest_points(line, 102)


@pytest.mark.parametrize(
    ("distances", "reason"),
    [
        (torch.zeros(2, 2), "takes 3 or more"),
        (torch.zeros(4, 4), "all points coincide"),
    ],
)
def test_a_cloud_without_a_shape_has_a_reason_and_no_diagram(distances, reason) -> None:
    missing = persistence_diagrams(distances)
    assert isinstance(missing, Unavailable)
    assert reason in missing.reason


def test_too_few_points_have_no_neighbours() -> None:
    missing = geodesic_distances(euclidean_distances(polygon(4)), 4)
    assert isinstance(missing, Unavailable)
    with pytest.raises(ValueError, match="at least 1"):
        geodesic_distances(euclidean_distances(polygon(4)), 0)


def test_without_gudhi_there_is_word_of_where_to_get_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "gudhi.sklearn.rips_persistence", None)
    with pytest.raises(StructureNetError, match="pip install gudhi"):
        diagrams(polygon(5))


def test_an_empty_diagram_has_no_entropy() -> None:
    assert isinstance(persistence_entropy(torch.empty(0, 2)), Unavailable)
    assert total_persistence(torch.empty(0, 2)) == 0


@pytest.mark.parametrize("bad", [torch.ones(3, 2), -torch.ones(3, 3), torch.full((3, 3), math.nan)])
def test_what_are_no_distances_is_refused(bad) -> None:
    with pytest.raises(ValueError, match="distances must be"):
        persistence_diagrams(bad)


def test_orders_and_counts_are_checked() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        total_persistence(torch.empty(0, 2), order=0)
    with pytest.raises(ValueError, match="at least 1"):
        gap_ratio(torch.empty(0, 2), 0)
