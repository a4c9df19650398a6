"""Many tests at once: p-values that are raised so that the whole family keeps its error."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from neural_architecture_lab.statistics.samples import Vector, sample


def holm(p_values: ArrayLike) -> Vector:
    r"""Holm's step-down p-values: the chance of any false positive stays below the level.

    :math:`\tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1)\, p_{(j)})`, whatever the tests have
    to do with each other.

    Args:
        p_values: Shape ``(m,)``, in [0, 1].

    Returns:
        Shape ``(m,)``, in the order given.

    Raises:
        ValueError: One is not in [0, 1].

    References:
        Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def benjamini_hochberg(p_values: ArrayLike) -> Vector:
    r"""Benjamini and Hochberg's p-values: of what is found, at most the level is false on average.

    :math:`\tilde p_{(i)} = \min_{j \ge i} \min(1, m\, p_{(j)} / j)`, for tests that are independent
    or positively dependent.

    Args:
        p_values: Shape ``(m,)``, in [0, 1].

    Returns:
        Shape ``(m,)``, in the order given.

    Raises:
        ValueError: One is not in [0, 1].

    References:
        Benjamini and Hochberg, "Controlling the false discovery rate", 1995.
    """
    from scipy import stats

    p = _checked(p_values)
    if len(p) == 0:
        return p
    found: Vector = stats.false_discovery_control(p, method="bh")
    return found


def _checked(p_values: ArrayLike) -> Vector:
    p = sample(p_values, least=0, name="p_values")
    if ((p < 0) | (p > 1)).any():
        raise ValueError(f"p_values must lie in [0, 1]; got {p[(p < 0) | (p > 1)][0]}.")
    return p
