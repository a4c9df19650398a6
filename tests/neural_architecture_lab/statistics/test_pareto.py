from __future__ import annotations

import numpy as np
import pytest

from neural_architecture_lab.statistics import (
    Direction,
    front_probability,
    hypervolume,
    pareto_front,
)

BEST: tuple[Direction, Direction] = ("max", "min")


def test_the_front_of_accuracy_against_size() -> None:
    points = [(0.90, 100), (0.95, 200), (0.93, 300), (0.95, 200), (0.90, 150)]
    assert pareto_front(points, BEST).tolist() == [True, True, False, True, False]


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_nothing_on_the_front_is_beaten_and_all_else_is(objectives: int) -> None:
    points = np.random.default_rng(0).normal(size=(60, objectives))
    front = pareto_front(points, ["max"] * objectives)
    for place, row in enumerate(points):
        beaten = any((other >= row).all() and (other > row).any() for other in points)
        assert front[place] == (not beaten)


def test_an_arm_that_always_wins_is_always_on_the_front() -> None:
    samples = np.zeros((6, 3, 2))
    samples[:, 0] = (1, 1)
    samples[:, 1] = np.random.default_rng(1).normal(size=(6, 2)) * 0.01
    samples[:, 2, 0] = np.linspace(0, 2.4, 6)
    found = front_probability(samples, ["max", "max"], resamples=400)
    assert found[0] == 1
    assert found[1] == 0
    assert 0 < found[2] < 1


def test_the_area_of_two_steps() -> None:
    """(2, 1) and (1, 3) over (0, 0): 2 x 1 + 1 x 2."""
    assert hypervolume([(2, 1), (1, 3), (0.5, 0.5)], (0, 0), ("max", "max")) == 4
    assert hypervolume([(-2, 1), (-1, 3)], (0, 0), ("min", "max")) == 4
    assert hypervolume([(-1, 5)], (0, 0), ("max", "max")) == 0


def test_shapes_and_directions_are_checked() -> None:
    with pytest.raises(ValueError, match=r"shape \(n, 2\)"):
        pareto_front([(1, 2, 3)], BEST)
    with pytest.raises(ValueError, match="'max' or 'min'; got 'up'"):
        pareto_front([(1, 2)], ["up", "min"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="two objectives; got 1"):
        hypervolume([(1,)], (0, 0), ["max"])
    with pytest.raises(ValueError, match="seeds, arms, objectives"):
        front_probability([[1, 2]], BEST)
    with pytest.raises(ValueError, match="finite"):
        pareto_front([(float("nan"), 1)], BEST)
