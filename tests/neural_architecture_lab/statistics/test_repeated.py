from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from neural_architecture_lab.statistics import factor_effects, repeated_effects


def laid(seeds: int, **levels: int) -> tuple[dict[str, list[int]], list[int]]:
    """Every seed at every combination of levels."""
    rows = list(product(range(seeds), *(range(count) for count in levels.values())))
    columns = list(zip(*rows, strict=True))
    return {name: list(columns[place + 1]) for place, name in enumerate(levels)}, list(columns[0])


def test_of_two_levels_it_is_the_paired_t_test() -> None:
    factors, seeds = laid(9, a=2)
    y = np.random.default_rng(0).normal(size=18) + 0.7 * np.array(factors["a"])
    (found,) = repeated_effects(factors, seeds, y)
    table = y.reshape(9, 2)
    paired = stats.ttest_rel(table[:, 1], table[:, 0])
    # F is t squared, with as many degrees of freedom: equal in float64 but for rounding.
    assert found.f == pytest.approx(paired.statistic**2, rel=1e-10)
    assert found.p_value == pytest.approx(paired.pvalue, rel=1e-8)
    assert found.freedom == pytest.approx((1, 8))


def test_the_interaction_of_two_by_two_is_the_t_test_of_differences_of_differences() -> None:
    factors, seeds = laid(7, a=2, b=2)
    y = np.random.default_rng(1).normal(size=28)
    both = next(one for one in repeated_effects(factors, seeds, y) if len(one.factors) == 2)
    cube = y.reshape(7, 2, 2)
    apart = cube[:, 1, 1] - cube[:, 1, 0] - cube[:, 0, 1] + cube[:, 0, 0]
    assert both.p_value == pytest.approx(stats.ttest_1samp(apart, 0).pvalue, rel=1e-8)


def test_the_level_is_kept_where_arms_share_their_noise() -> None:
    generator = np.random.default_rng(2)
    factors, seeds = laid(8, arm=4, width=3)
    runs, hits, careless = 300, 0, 0
    for run in range(runs):
        shared = generator.normal(size=(8, 1, 3))
        y = (shared + 0.3 * generator.normal(size=(8, 4, 3))).ravel()
        p = {one.factors: one.p_value for one in repeated_effects(factors, seeds, y)}
        hits += p["width",] <= 0.05
        if run < 40:
            other = {one.factors: one.p_value for one in factor_effects(factors, seeds, y)}
            careless += other["width",] <= 0.05
    # Three standard deviations of a binomial of 300 at .05.
    assert hits / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
    assert careless > 8  # P(more than 8 of 40 at .05) < .001


def test_what_never_varies_is_told_from_what_always_does() -> None:
    factors, seeds = laid(4, a=3, b=2)
    y = [float(level) for level in factors["a"]]
    p = {one.factors: one.p_value for one in repeated_effects(factors, seeds, y)}
    assert p == {("a",): 0.0, ("b",): 1.0, ("a", "b"): 1.0}


def test_a_design_with_holes_is_refused() -> None:
    factors, seeds = laid(4, a=2)
    with pytest.raises(ValueError, match="Every seed must have every combination"):
        repeated_effects({"a": [0, 1, 0, 1, 0, 1, 0, 0]}, seeds, np.arange(8.0))
    with pytest.raises(ValueError, match="'seeds' must have three levels or more; got 2"):
        repeated_effects({"a": [0, 1, 0, 1]}, [0, 0, 1, 1], np.arange(4.0))
    with pytest.raises(ValueError, match="8 responses, but 'a' has 3"):
        repeated_effects({"a": [0, 1, 0]}, seeds, np.arange(8.0))
    assert len(repeated_effects(factors, seeds, np.arange(8.0))) == 1
