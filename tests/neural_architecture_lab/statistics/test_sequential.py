from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from neural_architecture_lab.statistics import (
    Boundary,
    group_sequential,
    paired_t,
    sequential_p_value,
)


def critical(boundary: Boundary, sides: int = 2) -> list[float]:
    return [float(stats.norm.isf(level / sides)) for level in boundary.levels]


def test_five_even_looks_have_the_published_boundaries() -> None:
    """Lan and DeMets's spending at .05, two-sided, as printed in textbooks and by ldbounds."""
    looks = [4, 8, 12, 16, 20]
    obrien = critical(group_sequential(looks))
    assert obrien == pytest.approx([4.8769, 3.3569, 2.6803, 2.2898, 2.0310], abs=2e-4)
    pocock = critical(group_sequential(looks, spending="pocock"))
    assert pocock == pytest.approx([2.4380, 2.4268, 2.4101, 2.3966, 2.3859], abs=2e-4)


def test_one_look_spends_it_all() -> None:
    assert group_sequential([12]).levels == pytest.approx((0.05,), abs=1e-10)
    assert group_sequential([12], sides=1).levels == pytest.approx((0.05,), abs=1e-10)


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("spending", ["obrien-fleming", "pocock"])
def test_a_walk_without_drift_crosses_as_often_as_the_level_says(sides: int, spending: str) -> None:
    """40,000 walks tell .05 to within .0033 (three deviations)."""
    looks = [3, 5, 9, 14, 20]
    boundary = group_sequential(looks, sides=sides, spending=spending)  # type: ignore[arg-type]
    steps = np.random.default_rng(0).normal(size=(40_000, 20)).cumsum(1)
    z = np.stack([steps[:, n - 1] / n**0.5 for n in looks], 1)
    reached = np.abs(z) if sides == 2 else z
    crossed = (reached > np.array(critical(boundary, sides))).any(1).mean()
    assert crossed == pytest.approx(0.05, abs=0.0033)


def test_t_tests_of_few_seeds_keep_the_level_too() -> None:
    """4,000 experiments without a difference, looked at from 4 seeds on; the nominal levels are
    those of known variance, and what the t test adds is within the Monte-Carlo error of .01."""
    boundary = group_sequential([4, 8, 12, 16, 20])
    drawn = np.random.default_rng(1).normal(size=(4000, 20))
    found = [
        any(
            paired_t(d[:n]).p_value < level
            for n, level in zip(boundary.looks, boundary.levels, strict=True)
        )
        for d in drawn
    ]
    assert np.mean(found) < 0.06


def test_plans_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match=r"ascending; got \[5, 5\]"):
        group_sequential([5, 5])
    with pytest.raises(ValueError, match="from 2 on"):
        group_sequential([1, 5])
    with pytest.raises(ValueError, match="sides must be 1 or 2"):
        group_sequential([5], sides=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="spending must be"):
        group_sequential([5], spending="even")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="alpha must lie between 0 and 1"):
        group_sequential([5], alpha=0.0)


def test_what_just_stops_an_experiment_has_its_level_as_p_value() -> None:
    boundary = group_sequential([4, 8, 12, 16, 20])
    first = sequential_p_value(boundary, [boundary.levels[0]])
    second = sequential_p_value(boundary, [0.5, boundary.levels[1]])
    assert (first, second) == pytest.approx((0.05, 0.05), abs=1e-6)


def test_a_p_value_of_all_looks_never_rises_with_another_look() -> None:
    boundary = group_sequential([4, 8, 12])
    found = [sequential_p_value(boundary, [0.04, 0.3, 0.001][:n]) for n in (1, 2, 3)]
    assert found[0] >= found[1] >= found[2]


def test_one_look_leaves_a_p_value_as_it_is() -> None:
    assert sequential_p_value(group_sequential([10]), [0.03]) == pytest.approx(0.03, abs=1e-6)


def test_a_p_value_of_all_looks_is_one() -> None:
    """2,000 experiments without a difference: .1 or less in a tenth of them, to within .02."""
    boundary = group_sequential([5, 10])
    drawn = np.random.default_rng(2).normal(size=(2000, 10))
    at_ten = group_sequential([5, 10], alpha=0.1).levels
    found = [paired_t(d[:5]).p_value < at_ten[0] or paired_t(d).p_value < at_ten[1] for d in drawn]
    assert np.mean(found) == pytest.approx(0.1, abs=0.02)
    for d, crossed in list(zip(drawn, found, strict=True))[:40]:
        p = sequential_p_value(boundary, [paired_t(d[:5]).p_value, paired_t(d).p_value])
        assert (p < 0.1) == crossed


def test_there_are_no_more_p_values_than_looks() -> None:
    with pytest.raises(ValueError, match="for one to 2 looks; got 3"):
        sequential_p_value(group_sequential([5, 10]), [0.1, 0.1, 0.1])
