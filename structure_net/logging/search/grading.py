"""How clear a trait is, between two values that stand for not at all and for fully."""

from __future__ import annotations

import math
from collections.abc import Iterator

Graded = Iterator[tuple[str, float]]
"""Traits with their grades in [0, 1]."""


def ramp(value: float, zero: float, one: float) -> float:
    """0 at ``zero``, 1 at ``one``, straight between them."""
    return min(1.0, max(0.0, (value - zero) / (one - zero)))


def scale(value: float, zero: float, one: float) -> float:
    """`ramp` on a logarithmic scale."""
    return ramp(math.log(max(value, 1e-12)), math.log(zero), math.log(one))
