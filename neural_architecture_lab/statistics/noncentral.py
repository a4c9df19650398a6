"""The noncentral t distribution: what a t statistic does where there is an effect."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np

from neural_architecture_lab.statistics.samples import Vector

_STEPS: Final = 800


def noncentral_t_cdf(t: float, freedom: int, noncentrality: float) -> float:
    r"""The chance that a noncentral t variable is at most ``t``.

    .. math:: P(T \le t) = \int_0^\infty \Phi(t s - \delta)\, f(s)\, ds

    with ``f`` the density of :math:`\sqrt{\chi^2_\nu / \nu}`. It runs over :math:`\log s`, where
    the trapezoidal rule converges faster than any power of the step. `scipy.stats.nct` gives NaN
    or loses its digits in the tails that inverting it for an interval comes through.

    Args:
        t: Where.
        freedom: Degrees of freedom, 1 or more.
        noncentrality: The true effect times the root of the number of values.
    """
    from scipy import special

    s, weights = _chi(freedom)
    return float(np.clip(weights @ special.ndtr(t * s - noncentrality), 0.0, 1.0))


@cache
def _chi(freedom: int) -> tuple[Vector, Vector]:
    """Nodes and weights of an integral over the root of a chi-squared variable over its freedom."""
    # Below and above, less than 1e-14 of the mass is left.
    low = -40.0 / freedom - 8.0 / freedom**0.5
    high = max(8.0 / freedom**0.5, 0.5 * np.log1p(90.0 / freedom))
    x = np.linspace(low, high, _STEPS)
    # The density in x is exp(freedom * x - freedom / 2 * exp(2 x)), up to what makes its sum 1.
    weights = np.exp(freedom * (x - np.expm1(2 * x) / 2))
    return np.exp(x), weights / weights.sum()
