from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from neural_architecture_lab.statistics import (
    pilot_deviation,
    power_of_paired_t,
    seeds_for_equivalence,
    seeds_needed,
    tost,
)


def test_power_agrees_with_statsmodels() -> None:
    power = pytest.importorskip("statsmodels.stats.power").TTestPower()
    for effect, n in ((0.5, 10), (1.0, 8), (0.2, 100), (2.0, 3)):
        reference = power.power(effect, n, 0.05, alternative="two-sided")
        assert power_of_paired_t(effect, n) == pytest.approx(reference, abs=1e-6)
        one_sided = power.power(effect, n, 0.05, alternative="larger")
        found = power_of_paired_t(effect, n, alternative="greater")
        assert found == pytest.approx(one_sided, abs=1e-6)


def test_the_seeds_that_the_books_name() -> None:
    """Power .8 at a level of .05: an effect of 1 needs 10 pairs, one of .5 needs 34."""
    assert seeds_needed(1.0) == 10
    assert seeds_needed(0.5) == 34
    assert seeds_needed(-0.5) == 34


@pytest.mark.parametrize("effect", [0.1, 0.35, 0.8, 3.0])
def test_one_seed_fewer_is_too_few(effect: float) -> None:
    n = seeds_needed(effect, power=0.9)
    assert power_of_paired_t(effect, n) >= 0.9
    assert n == 2 or power_of_paired_t(effect, n - 1) < 0.9


def test_no_effect_is_found_as_often_as_the_level_says() -> None:
    assert power_of_paired_t(0.0, 12) == pytest.approx(0.05, abs=1e-10)
    assert power_of_paired_t(0.0, 12, alternative="less") == pytest.approx(0.05, abs=1e-10)
    mirrored = power_of_paired_t(-0.7, 9, alternative="less")
    assert mirrored == pytest.approx(power_of_paired_t(0.7, 9, alternative="greater"), abs=1e-12)


def test_a_pilots_deviation_is_an_upper_bound_as_often_as_it_says() -> None:
    r"""Of 5 seeds it is :math:`s \sqrt{4 / \chi^2_{.2, 4}}`; 2,000 pilots tell .8 within .03."""
    generator = np.random.default_rng(0)
    bounds = [pilot_deviation(generator.normal(size=5)) for _ in range(2000)]
    assert np.mean(np.array(bounds) > 1) == pytest.approx(0.8, abs=0.03)
    d = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    by_hand = d.std(ddof=1) * (4 / stats.chi2.ppf(0.2, 4)) ** 0.5
    assert pilot_deviation(d) == pytest.approx(by_hand, abs=1e-12)


def test_what_no_number_of_seeds_finds_is_refused() -> None:
    with pytest.raises(ValueError, match="No number of seeds finds an effect of 0"):
        seeds_needed(0.0)
    with pytest.raises(ValueError, match=r"effect of -0\.5 \(greater\)"):
        seeds_needed(-0.5, alternative="greater")
    with pytest.raises(ValueError, match="more than 1,000,000 seeds"):
        seeds_needed(1e-4)
    with pytest.raises(ValueError, match="two seeds or more; got 1"):
        power_of_paired_t(1.0, 1)


def test_seeds_for_equivalence_are_enough_and_hardly_too_many() -> None:
    """4,000 experiments without a difference, a margin of half a deviation: .8 within .02."""
    n = seeds_for_equivalence(0.5)
    drawn = np.random.default_rng(1).normal(size=(4000, n))
    shown = np.mean([tost(d, 0.5).p_value < 0.05 for d in drawn])
    assert 0.78 < shown < 0.84


def test_an_effect_outside_the_margin_is_never_equivalent() -> None:
    assert seeds_for_equivalence(1.0, 0.5) > seeds_for_equivalence(1.0)
    assert seeds_for_equivalence(1.0, 0.5) == seeds_for_equivalence(1.0, -0.5)
    with pytest.raises(ValueError, match="does not lie within"):
        seeds_for_equivalence(0.5, -0.5)
