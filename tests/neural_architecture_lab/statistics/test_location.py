from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from neural_architecture_lab.statistics import (
    Significance,
    differences_of,
    paired_t,
    sign_flip,
    wilcoxon_signed_rank,
)

DRAWN = np.random.default_rng(0).normal(0.4, 1.0, 12)
ALTERNATIVES = ["two-sided", "greater", "less"]
TESTS = [paired_t, wilcoxon_signed_rank, sign_flip]


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_the_paired_t_test_agrees_with_scipy(alternative: str) -> None:
    found = paired_t(DRAWN, alternative=alternative)
    reference = stats.ttest_1samp(DRAWN, 0, alternative=alternative)
    assert found.statistic == pytest.approx(reference.statistic, abs=1e-12)
    assert found.p_value == pytest.approx(reference.pvalue, abs=1e-12)


def test_a_t_statistic_worked_out_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, deviation 1, so that t is 2 times the root of 3."""
    found = paired_t([1, 2, 3])
    assert found.statistic == pytest.approx(2 * 3**0.5, abs=1e-12)
    assert found == Significance("paired t", found.statistic, found.p_value, 3, "two-sided")


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_the_signed_ranks_agree_with_scipy(alternative: str) -> None:
    found = wilcoxon_signed_rank(DRAWN, alternative=alternative)
    reference = stats.wilcoxon(DRAWN, alternative=alternative, method="exact")
    assert found.p_value == pytest.approx(reference.pvalue, abs=1e-12)


def test_tied_ranks_are_exact_too() -> None:
    """Ranks 1.5, 1.5, 3: of the 8 assignments of signs only one reaches a sum of 6."""
    assert wilcoxon_signed_rank([1, 1, 2], alternative="greater").p_value == 1 / 8
    assert wilcoxon_signed_rank([1, 1, 2]).p_value == 2 / 8


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_sign_flips_agree_with_scipys_permutation_test(alternative: str) -> None:
    reference = stats.permutation_test(
        (DRAWN,), np.mean, permutation_type="samples", alternative=alternative, n_resamples=5000
    )
    found = sign_flip(DRAWN, alternative=alternative)
    assert found.p_value == pytest.approx(reference.pvalue, abs=1e-12)


def test_four_positive_differences_leave_one_assignment_in_sixteen() -> None:
    assert sign_flip([1, 2, 3, 4], alternative="greater").p_value == 1 / 16
    assert sign_flip([1, 2, 3, 4]).p_value == 2 / 16


def test_drawn_sign_flips_come_near_the_t_test_and_are_never_zero() -> None:
    d = np.random.default_rng(1).normal(0.3, 1.0, 40)
    # Of 20,000 draws the p-value has a deviation below .004; for normal values both tests agree.
    assert sign_flip(d).p_value == pytest.approx(paired_t(d).p_value, abs=0.02)
    assert sign_flip(d + 100).p_value == 1 / 20_001
    assert sign_flip(d, seed=3) == sign_flip(d, seed=3)


@pytest.mark.parametrize("test", TESTS)
def test_differences_of_zero_say_nothing(test: object) -> None:
    assert test([0.0, 0.0, 0.0, 0.0]).p_value == 1  # type: ignore[operator]


def test_differences_that_do_not_vary_are_certain() -> None:
    found = paired_t([0.1] * 5)
    assert (found.statistic, found.p_value) == (float("inf"), 0.0)
    assert paired_t([0.1] * 5, alternative="less").p_value == 1


@pytest.mark.parametrize("test", TESTS)
def test_the_sides_mirror_each_other(test: object) -> None:
    up = test(DRAWN, alternative="greater").p_value  # type: ignore[operator]
    down = test(-DRAWN, alternative="less").p_value  # type: ignore[operator]
    assert up == pytest.approx(down, abs=1e-12)


def test_differences_are_taken_seed_by_seed() -> None:
    assert differences_of([3, 5], [1, 1]).tolist() == [2, 4]
    with pytest.raises(ValueError, match="one value per seed each; got 2 and 3"):
        differences_of([1, 2], [1, 2, 3])


def test_bad_samples_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"differences must be finite; got nan at 1\."):
        paired_t([1.0, float("nan"), 2.0])
    with pytest.raises(ValueError, match="must hold 2 or more; got 1"):
        paired_t([1.0])
    with pytest.raises(ValueError, match="alternative must be one of"):
        paired_t([1.0, 2.0], alternative="bigger")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be numbers"):
        sign_flip(["a", "b"])
    with pytest.raises(ValueError, match=r"a vector; got shape \(2, 1\)"):
        wilcoxon_signed_rank([[1], [2]])
