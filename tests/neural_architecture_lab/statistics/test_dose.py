from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from neural_architecture_lab.statistics import Bend, DoseResponse, bend, dose_response

LEVELS = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])


def noisy(clean: np.ndarray, seeds: int = 10, scale: float = 0.2, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    of_seed = generator.normal(size=(seeds, 1))
    return clean + of_seed + scale * generator.normal(size=(seeds, len(clean)))


def test_rounding_is_neither_a_slope_nor_a_bend() -> None:
    level = np.random.default_rng(0).random((25, 1))
    flat = np.repeat(level, 4, axis=1)
    assert bend([0, 1, 2, 3], flat).p_value == 1
    assert dose_response([0, 1, 2, 3], flat).significance.p_value == 1


def test_a_line_without_noise_has_its_own_slope() -> None:
    scores = 3 * LEVELS + np.array([[0.0], [5.0], [-2.0]])
    found = dose_response(LEVELS, scores)
    assert isinstance(found, DoseResponse)
    assert found.slope.value == pytest.approx(3, abs=1e-12)
    # Every seed puts the six levels in order: one of 720 orders each.
    assert found.monotone == pytest.approx(stats.page_trend_test(scores).pvalue, abs=1e-15)


def test_a_falling_trend_is_one_too() -> None:
    up, down = dose_response(LEVELS, noisy(LEVELS)), dose_response(LEVELS, -noisy(LEVELS))
    assert down.monotone == pytest.approx(up.monotone, abs=1e-15)
    assert down.slope.value == pytest.approx(-up.slope.value, abs=1e-12)


def test_the_slope_is_tested_over_the_seeds() -> None:
    scores = noisy(0.3 * LEVELS, scale=1.0)
    slopes = [stats.linregress(LEVELS, row).slope for row in scores]
    found = dose_response(LEVELS, scores)
    assert found.significance.p_value == pytest.approx(
        stats.ttest_1samp(slopes, 0).pvalue, abs=1e-12
    )


def test_a_bend_is_found_where_it_is() -> None:
    found = bend(LEVELS, noisy(np.minimum(LEVELS, 4.0)))
    assert isinstance(found, Bend)
    assert found.level == 4
    assert found.change == pytest.approx(-1, abs=0.2)
    # Of the 1,024 assignments of signs to ten seeds two are as extreme: nothing can be below .002.
    assert found.p_value < 0.01
    assert found.range is not None
    assert found.range[0] <= 4 <= found.range[1]


def test_a_line_bends_nowhere_as_often_as_the_level_says() -> None:
    """300 straight lines with noise: at most .05 and three deviations of .0126."""
    p = [bend(LEVELS, noisy(LEVELS, seed=s), resamples=400, seed=s).p_value for s in range(300)]
    assert 0.015 < np.mean(np.array(p) < 0.05) < 0.09


def test_few_seeds_give_no_range() -> None:
    assert bend(LEVELS, noisy(LEVELS, seeds=5), resamples=100).range is None


def test_levels_and_scores_are_checked() -> None:
    with pytest.raises(ValueError, match="levels must be distinct"):
        dose_response([1, 1, 2], np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"shape \(seeds, 6\)"):
        dose_response(LEVELS, np.zeros((3, 5)))
    with pytest.raises(ValueError, match="must hold 4 or more; got 3"):
        bend([1, 2, 3], np.zeros((3, 3)))
    with pytest.raises(ValueError, match="finite"):
        dose_response([1, 2, 3], np.full((2, 3), np.nan))


def test_a_bend_is_placed_where_a_broken_line_fits_though_all_seeds_agree() -> None:
    levels = np.arange(1.0, 7.0)
    noise = np.random.default_rng(0).normal(scale=1e-3, size=(10, 6))
    for level in (2.0, 3.0, 4.0, 5.0):
        assert bend(levels, np.minimum(levels, level) + noise).level == level
