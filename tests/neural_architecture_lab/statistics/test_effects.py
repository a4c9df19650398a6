from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from neural_architecture_lab.statistics import cliffs_delta, cohens_dz, rank_biserial


def test_a_standardised_mean_worked_out_by_hand() -> None:
    """Differences 1, 2, 3 have mean 2 and deviation 1."""
    assert cohens_dz([1, 2, 3]).value == pytest.approx(2, abs=1e-12)


def test_its_interval_inverts_the_noncentral_t_distribution() -> None:
    d = np.random.default_rng(0).normal(0.8, 1, 15)
    found, root = cohens_dz(d), 15**0.5
    t = found.value * root
    assert stats.nct.sf(t, 14, found.low * root) == pytest.approx(0.025, abs=1e-8)
    assert stats.nct.cdf(t, 14, found.high * root) == pytest.approx(0.025, abs=1e-8)


def test_its_interval_excludes_zero_just_when_the_t_test_does() -> None:
    generator = np.random.default_rng(1)
    for _ in range(50):
        d = generator.normal(0.6, 1, 8)
        assert (0 in cohens_dz(d)) == (stats.ttest_1samp(d, 0).pvalue > 0.05)


def test_equal_differences_have_an_effect_without_bound() -> None:
    assert cohens_dz([0.2] * 4).low == float("inf")
    assert cohens_dz([0.0] * 4).high == 0


def test_dominance_counted_by_hand() -> None:
    """Of the nine pairs 7 are won, 1 is lost and 1 is tied."""
    found = cliffs_delta([3, 4, 5], [1, 2, 4])
    assert found.value == pytest.approx((7 - 1) / 9, abs=1e-12)
    assert -1 <= found.low < found.value < found.high <= 1
    mirrored = cliffs_delta([1, 2, 4], [3, 4, 5])
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low), abs=1e-12)


def test_dominance_covers_the_truth_as_it_says() -> None:
    r"""Normal arms one deviation apart: delta is :math:`2\Phi(1/\sqrt2) - 1`; 400 samples."""
    generator = np.random.default_rng(2)
    truth = 2 * stats.norm.cdf(1 / 2**0.5) - 1
    held = [
        truth in cliffs_delta(generator.normal(1, 1, 15), generator.normal(0, 1, 15))
        for _ in range(400)
    ]
    assert 0.91 < np.mean(held) < 0.985


def test_full_dominance_leaves_the_other_end_open() -> None:
    found = cliffs_delta([5, 6, 7], [1, 2, 3])
    assert (found.value, found.high) == (1, 1)
    assert found.low < 1


def test_the_excess_of_signed_ranks_counted_by_hand() -> None:
    """Ranks 1, 2, 3 with signs -, +, +: (5 - 1) / 6."""
    found = rank_biserial([-1, 2, 3])
    assert found.value == pytest.approx(4 / 6, abs=1e-12)
    assert -1 <= found.low < found.value < found.high <= 1
    assert rank_biserial([0, 0]).value == 0
    assert rank_biserial([1, 2, 3, 4]).high == 1
