"""What the tests take: samples as vectors of finite numbers, one of them for each seed."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Alternative: TypeAlias = Literal["two-sided", "greater", "less"]
Vector: TypeAlias = NDArray[np.float64]

_ALTERNATIVES = ("two-sided", "greater", "less")


def sample(values: ArrayLike, *, least: int = 1, name: str = "values") -> Vector:
    """``values`` as a vector of finite numbers.

    Args:
        values: Shape ``(n,)``.
        least: How many there must be.
        name: What an error calls them.

    Raises:
        TypeError: They are no numbers.
        ValueError: They are no vector, too few, or one is not finite.
    """
    try:
        vector = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be numbers; {error}.") from error
    if vector.ndim != 1:
        raise ValueError(f"{name} must be a vector; got shape {vector.shape}.")
    if len(vector) < least:
        raise ValueError(f"{name} must hold {least} or more; got {len(vector)}.")
    if not np.isfinite(vector).all():
        place = int(np.flatnonzero(~np.isfinite(vector))[0])
        raise ValueError(
            f"{name} must be finite; got {vector[place]} at {place}. Leave failed trials out, in"
            " all arms of their seed."
        )
    return vector


def scaled(values: NDArray[np.float64], *, beside: float = 0.0) -> tuple[Any, int]:
    """``values`` times a power of two, so that squares and sums neither overflow nor vanish.

    Nothing is rounded but what is 1e-290 of the largest: what does not depend on the unit comes out
    the same to the last bit.

    Args:
        values: Finite, of any shape, one or more.
        beside: A number that will be scaled alike, such as a margin.

    Returns:
        The largest magnitude between .5 and 1, and ``k``: they are ``values / 2**k``.
    """
    exponent = math.frexp(max(float(np.abs(values).max()), abs(beside)))[1]
    return np.ldexp(values, -exponent), exponent


def unscaled(value: float, exponent: int) -> float:
    """``value * 2**exponent``; infinite where that is too large for a float."""
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return math.copysign(math.inf, value)


def differences_of(treated: ArrayLike, control: ArrayLike) -> Vector:
    """``treated - control`` seed by seed.

    Args:
        treated: Shape ``(n,)``.
        control: Shape ``(n,)``, of the same seeds in the same order.

    Raises:
        ValueError: They differ in length, or one is not finite.
    """
    a, b = sample(treated, name="treated"), sample(control, name="control")
    if len(a) != len(b):
        raise ValueError(
            f"Paired arms must have one value per seed each; got {len(a)} and {len(b)}."
        )
    return a - b


def check_alternative(alternative: str) -> None:
    """Refuses a direction that there is not.

    Raises:
        ValueError: It is none of 'two-sided', 'greater' and 'less'.
    """
    if alternative not in _ALTERNATIVES:
        raise ValueError(f"alternative must be one of {_ALTERNATIVES}; got {alternative!r}.")


def check_fraction(**values: float) -> None:
    """Refuses what is not strictly between 0 and 1.

    Raises:
        ValueError: One is not.
    """
    for name, value in values.items():
        if not 0 < value < 1:
            raise ValueError(f"{name} must lie between 0 and 1; got {value}.")
