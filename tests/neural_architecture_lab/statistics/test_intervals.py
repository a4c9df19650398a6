from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from neural_architecture_lab.statistics import Interval, bca_interval, mean_interval


def test_the_interval_of_a_mean_agrees_with_scipy() -> None:
    x = np.random.default_rng(0).normal(size=9)
    found = mean_interval(x, confidence=0.9)
    low, high = stats.ttest_1samp(x, 0).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)
    assert found.value == pytest.approx(x.mean(), abs=1e-12)


def test_an_interval_knows_what_it_holds_and_says_it() -> None:
    interval = Interval(0.5, 0.25, 1.0)
    assert 0.25 in interval
    assert 1.01 not in interval
    assert str(interval) == "0.5 [0.25, 1]"


def test_the_bootstrap_agrees_with_scipys_for_the_same_draws() -> None:
    x = np.random.default_rng(1).exponential(size=20)
    reference = stats.bootstrap(
        (x,), np.median, n_resamples=500, method="BCa", rng=np.random.default_rng(7)
    ).confidence_interval
    found = bca_interval(x, np.median, resamples=500, seed=7)
    assert (found.low, found.high) == (reference.low, reference.high)


def test_the_bootstrap_of_skewed_values_covers_as_it_says() -> None:
    """300 samples of 25: the coverage of a 90 % interval is within .88 and .94 in the long run, and
    300 samples tell it to within .04."""
    generator = np.random.default_rng(2)
    held = [
        1.0 in bca_interval(generator.exponential(size=25), confidence=0.9, resamples=400, seed=i)
        for i in range(300)
    ]
    assert 0.82 < np.mean(held) < 0.96


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert bca_interval([2.0] * 9) == Interval(2.0, 2.0, 2.0)


def test_too_few_values_are_refused() -> None:
    with pytest.raises(ValueError, match=r"needs 8 values or more; got 5\. Take `mean_interval`"):
        bca_interval([1, 2, 3, 4, 5])
    with pytest.raises(ValueError, match="must hold 2 or more"):
        mean_interval([1])
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1; got 95"):
        mean_interval([1, 2], confidence=95)
