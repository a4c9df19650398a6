"""Whether two arms are the same, as far as it matters: two one-sided tests."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from neural_architecture_lab.statistics.intervals import Interval, mean_interval
from neural_architecture_lab.statistics.location import paired_t
from neural_architecture_lab.statistics.samples import check_fraction, sample, scaled


@dataclass(frozen=True, slots=True)
class Equivalence:
    """What two one-sided tests found.

    Args:
        p_value: The larger of the two: below ``alpha`` the mean lies within the margin.
        interval: The mean with its ``1 - 2 alpha`` interval, which lies within the margin then.
        margin: The smallest difference that would matter.
    """

    p_value: float
    interval: Interval
    margin: float


def tost(differences: ArrayLike, margin: float, *, alpha: float = 0.05) -> Equivalence:
    """Tests that the mean difference lies within ``margin`` on both sides of zero.

    Args:
        differences: Shape ``(n,)``, two or more.
        margin: Above zero, in the units of the differences.
        alpha: The level of each of the two tests, in (0, 1/2).

    Raises:
        ValueError: The margin is not positive, ``alpha`` is out of range, or there are too few.

    References:
        Schuirmann, "A comparison of the two one-sided tests procedure and the power approach",
        1987. Lakens, "Equivalence tests", 2017.
    """
    d = sample(differences, least=2, name="differences")
    if not (margin > 0 and np.isfinite(margin)):
        raise ValueError(f"margin must be positive and finite; got {margin}.")
    check_fraction(alpha=alpha)
    if alpha >= 0.5:
        raise ValueError(f"alpha must be below 1/2; got {alpha}.")
    x, exponent = scaled(d, beside=margin)
    reach = math.ldexp(margin, -exponent)
    above = paired_t(x + reach, alternative="greater").p_value
    below = paired_t(x - reach, alternative="less").p_value
    return Equivalence(max(above, below), mean_interval(d, confidence=1 - 2 * alpha), margin)
