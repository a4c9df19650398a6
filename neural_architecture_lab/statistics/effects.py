"""How large a difference is, free of units: standardised means and dominance, with intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from neural_architecture_lab.statistics.intervals import Interval
from neural_architecture_lab.statistics.noncentral import noncentral_t_cdf
from neural_architecture_lab.statistics.samples import check_fraction, sample, scaled


def cohens_dz(differences: ArrayLike, *, confidence: float = 0.95) -> Interval:
    r"""The mean difference in standard deviations of the differences, :math:`d_z = \bar d / s`.

    The interval inverts the noncentral t distribution of :math:`d_z \sqrt n`, which is exact for
    normal differences.

    Args:
        differences: Shape ``(n,)``, two or more.
        confidence: In (0, 1).

    Returns:
        Infinite, with both ends, where the differences are equal and not zero; zero with both ends
        where they are zero.

    Raises:
        ValueError: There are fewer than two, or one is not finite.

    References:
        Cohen, "Statistical power analysis for the behavioral sciences", 1988. Cumming and Finch,
        "A primer on confidence intervals that are based on noncentral distributions", 2001.
    """
    check_fraction(confidence=confidence)
    d, _ = scaled(sample(differences, least=2, name="differences"))
    mean, deviation = float(d.mean()), float(d.std(ddof=1))
    if deviation <= 1e-14 * float(np.abs(d).max()):
        value = 0.0 if mean == 0 else float(np.copysign(np.inf, mean))
        return Interval(value, value, value, confidence)
    value, root = mean / deviation, len(d) ** 0.5
    tail = (1 - confidence) / 2
    ends = [_noncentrality(value * root, len(d) - 1, q) / root for q in (1 - tail, tail)]
    return Interval(value, ends[0], ends[1], confidence)


def cliffs_delta(treated: ArrayLike, control: ArrayLike, *, confidence: float = 0.95) -> Interval:
    r"""How much more often a value of one arm exceeds one of the other than the reverse.

    :math:`\delta = P(x > y) - P(x < y)`, in [-1, 1]. It reads the arms unpaired; of paired ones
    `rank_biserial` says more. The interval is the asymmetric one of Feng and Cliff.

    Args:
        treated: Shape ``(n,)``, two or more.
        control: Shape ``(m,)``, two or more.
        confidence: In (0, 1).

    Raises:
        ValueError: There are fewer than two, or one is not finite.

    References:
        Cliff, "Dominance statistics", Psychological Bulletin 1993. Feng and Cliff, "Monte Carlo
        evaluation of ordinal d with improved confidence interval", 2004.
    """
    from scipy import stats

    check_fraction(confidence=confidence)
    x = sample(treated, least=2, name="treated")
    y = sample(control, least=2, name="control")
    dominance = np.sign(x[:, None] - y[None, :])
    delta = float(dominance.mean())
    n, m = dominance.shape
    rows = float(((dominance.mean(1) - delta) ** 2).sum())
    columns = float(((dominance.mean(0) - delta) ** 2).sum())
    cells = float(((dominance - delta) ** 2).sum())
    variance = (m**2 * rows + n**2 * columns - cells) / (n * m * (n - 1) * (m - 1))
    variance = max(variance, (1 - delta**2) / (n * m - 1))
    if abs(delta) == 1:
        return _at_the_bound(delta, min(n, m), confidence)
    z = float(stats.norm.ppf((1 + confidence) / 2))
    centre, spread = delta - delta**3, z * variance**0.5
    half = spread * ((1 - delta**2) ** 2 + z**2 * variance) ** 0.5
    scale = 1 - delta**2 + z**2 * variance
    return Interval(
        delta, max((centre - half) / scale, -1.0), min((centre + half) / scale, 1.0), confidence
    )


def rank_biserial(differences: ArrayLike, *, confidence: float = 0.95) -> Interval:
    r"""The signed ranks' excess, :math:`r = (W_+ - W_-) / (W_+ + W_-)`, in [-1, 1].

    It says how much more often the mean of two differences is positive than negative. Zeros are
    left out. The interval is Student's in :math:`\operatorname{artanh} r`, with the error of
    leaving out one difference at a time. The error that ranks have where nothing differs, which
    textbooks take, holds the truth in 8 of 10 experiments only where something does.

    Args:
        differences: Shape ``(n,)``, one or more.
        confidence: In (0, 1).

    Raises:
        ValueError: There is none, or one is not finite.

    References:
        Kerby, "The simple difference formula", 2014. Efron and Stein, "The jackknife estimate of
        variance", 1981.
    """
    from scipy import stats

    check_fraction(confidence=confidence)
    d, _ = scaled(sample(differences, name="differences"))
    moved = d[d != 0]
    n = len(moved)
    if n == 0:
        return Interval(0.0, 0.0, 0.0, confidence)
    signs = np.sign(moved[:, None] + moved[None, :])
    pairs = n * (n + 1) / 2
    total = float(np.triu(signs).sum())
    r = total / pairs
    if abs(r) == 1:
        return _at_the_bound(r, n, confidence)
    if n < 3:  # too few to leave one out
        return Interval(r, -1.0, 1.0, confidence)
    without = (total - signs.sum(1)) / (pairs - n)
    error = ((n - 1) / n * ((without - without.mean()) ** 2).sum()) ** 0.5 / (1 - r**2)
    reach = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * error
    ends = np.tanh(np.arctanh(r) + np.array((-reach, reach)))
    return Interval(r, float(ends[0]), float(ends[1]), confidence)


def _noncentrality(t: float, freedom: int, probability: float) -> float:
    """The noncentrality at which a statistic of at most ``t`` has ``probability``."""
    from scipy import optimize

    def excess(noncentrality: float) -> float:
        return noncentral_t_cdf(t, freedom, noncentrality) - probability

    reach = 10.0 + 2.0 * abs(t)
    return float(optimize.brentq(excess, t - reach, t + reach, xtol=1e-10))


def _at_the_bound(value: float, n: int, confidence: float) -> Interval:
    """Where every pair agrees: the other end by the rule of n agreements in a row."""
    # The chance of n agreements is q^n; the smallest q that is not ruled out is tail^(1/n).
    bound = 2 * ((1 - confidence) / 2) ** (1 / n) - 1
    return (
        Interval(1.0, bound, 1.0, confidence)
        if value > 0
        else Interval(-1.0, -1.0, -bound, confidence)
    )
