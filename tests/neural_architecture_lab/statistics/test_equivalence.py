from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from neural_architecture_lab.statistics import Equivalence, tost


def test_the_two_tests_agree_with_scipy() -> None:
    d = np.random.default_rng(0).normal(0, 1, 20)
    found = tost(d, 0.8)
    above = stats.ttest_1samp(d, -0.8, alternative="greater").pvalue
    below = stats.ttest_1samp(d, 0.8, alternative="less").pvalue
    assert found.p_value == pytest.approx(max(above, below), abs=1e-12)
    assert found == Equivalence(found.p_value, found.interval, 0.8)


def test_equivalence_is_found_just_when_the_interval_lies_within_the_margin() -> None:
    generator = np.random.default_rng(1)
    for _ in range(60):
        found = tost(generator.normal(0.1, 1, 25), 0.5)
        within = found.interval.low > -0.5 and found.interval.high < 0.5
        assert within == (found.p_value < 0.05)
        assert found.interval.confidence == pytest.approx(0.9)


def test_no_difference_is_not_yet_equivalence() -> None:
    """Four noisy seeds neither differ nor are the same."""
    d = [-1.0, 1.0, -0.5, 0.6]
    assert stats.ttest_1samp(d, 0).pvalue > 0.5
    assert tost(d, 0.1).p_value > 0.4


def test_equal_arms_are_equivalent() -> None:
    assert tost([0.0, 0.0, 0.0], 0.01).p_value == 0


@pytest.mark.parametrize("margin", [0.0, -1.0, float("inf")])
def test_a_margin_is_positive(margin: float) -> None:
    with pytest.raises(ValueError, match="margin must be positive"):
        tost([0.1, 0.2], margin)


def test_a_level_is_below_one_half() -> None:
    with pytest.raises(ValueError, match="alpha must be below 1/2"):
        tost([0.1, 0.2], 1.0, alpha=0.6)
