"""Stopping early without raising the error: group-sequential boundaries by spending of the level.

Looking after every seed and stopping at the first p-value below .05 finds something in 22 of 100
experiments in which nothing is (3 to 20 seeds). A boundary says beforehand at how many seeds one
looks, and what level each look may spend, so that all of them together spend ``alpha``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final, Literal, TypeAlias

import numpy as np

from neural_architecture_lab.statistics.samples import Vector, check_fraction

Spending: TypeAlias = Literal["obrien-fleming", "pocock"]

_POINTS: Final = 96  # of Gauss and Legendre between two boundaries: the levels hold to 1e-14


@dataclass(frozen=True, slots=True)
class Boundary:
    """The looks of an experiment, and the level that each may spend.

    Args:
        looks: The numbers of seeds at which one looks, ascending; the last is the planned number.
        levels: The p-value below which one stops, for each look.
        alpha: What all looks spend together.
    """

    looks: tuple[int, ...]
    levels: tuple[float, ...]
    alpha: float


def group_sequential(
    looks: Sequence[int],
    *,
    alpha: float = 0.05,
    sides: Literal[1, 2] = 2,
    spending: Spending = "obrien-fleming",
) -> Boundary:
    r"""The levels of looks that together spend ``alpha``.

    With :math:`t` the fraction of the planned seeds, the level spent until ``t`` is
    :math:`2\,(1 - \Phi(z_{\alpha/2} / \sqrt t))` (O'Brien and Fleming: hardly anything early) or
    :math:`\alpha \log(1 + (e - 1) t)` (Pocock: evenly). The critical values solve for it along the
    Brownian motion of the score, by numerical integration; they are handed out as nominal p-values,
    so that they serve the t test of few seeds, too. What that costs is measured in the benchmark
    ``error_rates``.

    Args:
        looks: Numbers of seeds, two or more each, ascending.
        alpha: The level of the whole, in (0, 1).
        sides: 2 for a difference in either direction.
        spending: How the level is spent over the looks.

    Raises:
        ValueError: The looks do not ascend, or an argument is out of range.

    References:
        Lan and DeMets, "Discrete sequential boundaries for clinical trials", Biometrika 1983.
        Armitage, McPherson and Rowe, "Repeated significance tests on accumulating data", 1969.
    """
    from scipy import stats

    _check(looks, alpha, sides, spending)
    share = alpha / sides
    times = np.asarray(looks, dtype=np.float64) / looks[-1]
    spent = np.diff([0.0, *(_spent(float(t), share, spending) for t in times)])
    walk = _Walk(both=sides == 2)
    levels = []
    for time, part in zip(times, spent, strict=True):
        critical = walk.step(float(time), float(part))
        levels.append(float(sides * stats.norm.sf(critical)))
    return Boundary(tuple(looks), tuple(levels), alpha)


def sequential_p_value(
    boundary: Boundary,
    p_values: Sequence[float],
    *,
    sides: Literal[1, 2] = 2,
    spending: Spending = "obrien-fleming",
) -> float:
    """The smallest level at which the looks so far would have stopped: a p-value for them all.

    However early one stops, it is below ``alpha`` with probability ``alpha`` at most where nothing
    differs, so that corrections for many tests may take it as they take any other.

    Args:
        boundary: Whose looks are taken.
        p_values: Those of the looks so far, in order: one or more.
        sides: As for the boundary.
        spending: As for the boundary.

    Raises:
        ValueError: There is none, or there are more than looks.

    References:
        Jennison and Turnbull, "Group sequential methods with applications to clinical trials",
        2000, chapter 8.4. Maurer and Bretz, "Multiple testing in group sequential trials using
        graphical approaches", 2013.
    """
    from scipy import optimize

    if not 1 <= len(p_values) <= len(boundary.looks):
        raise ValueError(
            f"There must be a p-value for one to {len(boundary.looks)} looks; got {len(p_values)}."
        )

    def margin(alpha: float) -> float:
        levels = group_sequential(
            boundary.looks, alpha=alpha, sides=sides, spending=spending
        ).levels
        ratios = (
            np.log(level) - np.log(max(p, 1e-300))
            for p, level in zip(p_values, levels, strict=False)
        )
        return float(max(ratios))

    low, high = 1e-12, 1 - 1e-9
    if margin(low) >= 0:
        return low
    if margin(high) < 0:
        return 1.0
    return float(optimize.brentq(margin, low, high, xtol=1e-12, rtol=1e-6))


def _spent(time: float, share: float, spending: Spending) -> float:
    """The one-sided level spent until ``time``, in [0, 1]."""
    from scipy import stats

    if spending == "pocock":
        return share * float(np.log1p((np.e - 1) * time))
    # Of each side: alpha / 2 two-sided, so that the two sides add up to the formula above.
    return float(2 * stats.norm.sf(stats.norm.isf(share / 2) / time**0.5))


class _Walk:
    """The score of an experiment in which nothing differs, where it has not crossed yet."""

    def __init__(self, *, both: bool) -> None:
        self._both = both
        self._time = 0.0
        self._at: Vector = np.zeros(1)
        self._mass: Vector = np.ones(1)

    def step(self, time: float, part: float) -> float:
        """Moves on to ``time``; the critical value that a fraction ``part`` crosses upwards."""
        from scipy import optimize, special

        scale = (time - self._time) ** 0.5

        def excess(critical: float) -> float:
            beyond = special.ndtr((self._at - critical * time**0.5) / scale)
            return float(self._mass @ beyond) - part

        critical = float(optimize.brentq(excess, -10.0, 38.0, xtol=1e-12))
        self._move(time, scale, critical)
        return critical

    def _move(self, time: float, scale: float, critical: float) -> None:
        upper = critical * time**0.5
        lower = -upper if self._both else -9.0 * time**0.5
        nodes, weights = _nodes()
        at = lower + (upper - lower) * (nodes + 1) / 2
        steps = (at[:, None] - self._at[None, :]) / scale
        kernel = np.exp(-0.5 * steps**2) / (scale * (2 * np.pi) ** 0.5)
        self._mass = (kernel @ self._mass) * weights * (upper - lower) / 2
        self._at, self._time = at, time


@cache
def _nodes() -> tuple[Vector, Vector]:
    nodes, weights = np.polynomial.legendre.leggauss(_POINTS)
    return nodes, weights


def _check(looks: Sequence[int], alpha: float, sides: int, spending: str) -> None:
    check_fraction(alpha=alpha)
    ascending = all(a < b for a, b in pairwise(looks))
    if not looks or looks[0] < 2 or not ascending:
        raise ValueError(f"looks must be numbers of seeds from 2 on, ascending; got {list(looks)}.")
    if sides not in (1, 2):
        raise ValueError(f"sides must be 1 or 2; got {sides}.")
    if spending not in ("obrien-fleming", "pocock"):
        raise ValueError(f"spending must be 'obrien-fleming' or 'pocock'; got {spending!r}.")
