"""How many seeds an experiment needs: the power of the paired t test, and its inverse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from neural_architecture_lab.statistics.noncentral import noncentral_t_cdf
from neural_architecture_lab.statistics.samples import (
    Alternative,
    check_alternative,
    check_fraction,
    sample,
    scaled,
    unscaled,
)

MOST_SEEDS: Final = 1_000_000


def power_of_paired_t(
    effect: float, n: int, *, alpha: float = 0.05, alternative: Alternative = "two-sided"
) -> float:
    """The chance that the paired t test finds a true standardised effect.

    Args:
        effect: The true mean difference in standard deviations of the differences.
        n: The number of seeds, two or more.
        alpha: The level, in (0, 1).
        alternative: ``"greater"``: only a positive effect can be found.

    Raises:
        ValueError: ``n`` is below two, or ``alpha`` is out of range.

    References:
        Cohen, "Statistical power analysis for the behavioral sciences", 1988.
    """
    from scipy import stats

    check_alternative(alternative)
    check_fraction(alpha=alpha)
    if n < 2:
        raise ValueError(f"A paired t test needs two seeds or more; got {n}.")
    if alternative == "less":
        return power_of_paired_t(-effect, n, alpha=alpha, alternative="greater")
    shift, freedom = effect * n**0.5, n - 1
    if alternative == "greater":
        return _above(float(stats.t.isf(alpha, freedom)), freedom, shift)
    bound = float(stats.t.isf(alpha / 2, freedom))
    return _above(bound, freedom, shift) + _above(bound, freedom, -shift)


def seeds_needed(
    effect: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    alternative: Alternative = "two-sided",
) -> int:
    """The fewest seeds with which the paired t test finds ``effect`` with ``power``.

    Args:
        effect: The mean difference in standard deviations of the differences; not 0.
        alpha: The level, in (0, 1).
        power: The chance of finding it, in (0, 1).
        alternative: As in `power_of_paired_t`.

    Raises:
        ValueError: The effect is 0 or not finite, lies on the other side of the alternative, is so
            small that a million seeds are too few, or a fraction is out of range.
    """
    check_fraction(power=power)
    check_alternative(alternative)
    wrong = {"greater": effect <= 0, "less": effect >= 0}.get(alternative, effect == 0)
    if wrong or not np.isfinite(effect):
        raise ValueError(f"No number of seeds finds an effect of {effect} ({alternative}).")
    return _fewest(
        lambda n: power_of_paired_t(effect, n, alpha=alpha, alternative=alternative),
        power,
        f"An effect of {effect}",
    )


def seeds_for_equivalence(
    margin: float, effect: float = 0.0, *, alpha: float = 0.05, power: float = 0.8
) -> int:
    """Enough seeds for two one-sided tests to place a true ``effect`` within ``margin``.

    Their joint power is bounded from below by the sum of each one's less 1, so that the number is
    enough, and for usual powers at most one or two seeds too many.

    Args:
        margin: In standard deviations of the differences; above ``|effect|``.
        effect: The true mean difference in the same unit.
        alpha: The level of each test, in (0, 1).
        power: The chance of showing equivalence, in (0, 1).

    Raises:
        ValueError: The effect is not within the margin, or a million seeds are too few.

    References:
        Phillips, "Power of the two one-sided tests procedure in bioequivalence", 1990.
    """
    check_fraction(alpha=alpha, power=power)
    if not abs(effect) < margin:
        raise ValueError(
            f"An effect of {effect} does not lie within {margin}: no number of seeds shows it."
        )

    def joint(n: int) -> float:
        return (
            sum(
                power_of_paired_t(margin + side * effect, n, alpha=alpha, alternative="greater")
                for side in (-1, 1)
            )
            - 1
        )

    return _fewest(joint, power, f"Equivalence within {margin}")


def pilot_deviation(differences: ArrayLike, *, assurance: float = 0.8) -> float:
    r"""The standard deviation to plan with after a pilot: an upper bound, not the estimate.

    A deviation from few seeds is as often too small as too large, and a plan that rests on one
    that is too small has too few seeds. The bound
    :math:`s \sqrt{(n-1) / \chi^2_{1-a, n-1}}` holds with probability ``assurance``.

    Args:
        differences: Shape ``(n,)``, two or more: those of the pilot.
        assurance: ``a``, in (0, 1).

    Raises:
        ValueError: There are fewer than two, or ``assurance`` is out of range.

    References:
        Browne, "On the use of a pilot sample for sample size determination", 1995.
    """
    from scipy import stats

    check_fraction(assurance=assurance)
    d, exponent = scaled(sample(differences, least=2, name="differences"))
    freedom = len(d) - 1
    bound = float(d.std(ddof=1) * (freedom / stats.chi2.ppf(1 - assurance, freedom)) ** 0.5)
    return unscaled(bound, exponent)


def _fewest(power_at: Callable[[int], float], power: float, what: str) -> int:
    """The fewest seeds, from 2 on, at which a power that grows with them is reached."""
    low, high = 1, 2
    while power_at(high) < power:
        low, high = high, 2 * high
        if high > MOST_SEEDS:
            raise ValueError(f"{what} needs more than {MOST_SEEDS:,} seeds.")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_at(middle) >= power else (middle, high)
    return high


def _above(bound: float, freedom: int, shift: float) -> float:
    # The upper tail is the lower one of the mirrored variable, which keeps its digits.
    return noncentral_t_cdf(-bound, freedom, -shift)
