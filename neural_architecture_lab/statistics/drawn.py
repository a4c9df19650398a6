"""Which factor matters where points were drawn: shuffles of what the draw itself shuffled.

Of a random layout, and of a Latin hypercube, the levels of one factor were assigned to the points
without looking at the other factors. Where a factor does nothing, any other assignment would have
given the same outcomes; so the share that it explains is held against that of random assignments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neural_architecture_lab.statistics.factors import share_of
from neural_architecture_lab.statistics.intervals import Interval
from neural_architecture_lab.statistics.samples import Vector, sample, scaled

_AT_ONCE: Final = 64
"""Shuffles that are worked on together: their memory is that times the points."""


@dataclass(frozen=True, slots=True)
class DrawnEffect:
    """What one factor explains over drawn points.

    Args:
        factors: The factor's name, by itself.
        share: Of the variance that the other factors leave, what this one explains, with the
            interval of an analysis of variance.
        p_value: Of a share as large where the factor's levels are assigned at random.
        lowest: Of the drawn levels the one at which the fitted outcome is lowest.
        highest: That at which it is highest.
    """

    factors: tuple[str]
    share: Interval
    p_value: float
    lowest: Any
    highest: Any


def effects_of_drawn(
    levels: Mapping[str, Sequence[Any]],
    response: ArrayLike,
    *,
    resamples: int = 2_000,
    seed: int = 0,
) -> tuple[DrawnEffect, ...]:
    """The effect of each factor, a parabola along numbers, and a mean for each level of others.

    The p-value is exact where a factor's levels were drawn apart from those of others, whatever the
    outcome's distribution and however the other factors act; the fit decides the power alone.

    Args:
        levels: For each factor its level at each of ``n`` points. Numbers that are positive and
            span a factor of eight are taken by their logarithm.
        response: Shape ``(n,)``: the mean outcome at each point.
        resamples: How many assignments are drawn.
        seed: What they are drawn with.

    Returns:
        In the order of the factors; those of one level only are left out, and nothing is returned
        where there are too few points for the fit: three more than it has coefficients.

    Raises:
        ValueError: The lengths differ, or an outcome is not finite.

    References:
        Freedman and Lane, "A nonstochastic interpretation of reported significance levels", 1983.
        Edgington and Onghena, "Randomization tests", 2007.
    """
    y, _ = scaled(sample(response, name="response"))
    for name, column in levels.items():
        if len(column) != len(y):
            raise ValueError(
                f"There are {len(y)} outcomes, but the factor {name!r} has {len(column)} levels."
            )
    bases = {name: _basis(column) for name, column in levels.items()}
    bases = {name: basis for name, basis in bases.items() if basis.shape[1]}
    if len(y) < 4 + sum(basis.shape[1] for basis in bases.values()):
        return ()
    generator = np.random.default_rng(seed)
    found = []
    for name, basis in bases.items():
        others = [other for key, other in bases.items() if key != name]
        rest = np.concatenate((np.ones((len(y), 1)), *others), axis=1)
        found.append(_effect(name, levels[name], basis, rest, y, generator, resamples))
    return tuple(found)


def _effect(  # noqa: PLR0913, PLR0917 - one factor beside the others, and what to draw with
    name: str,
    column: Sequence[Any],
    basis: NDArray[np.float64],
    rest: NDArray[np.float64],
    y: Vector,
    generator: np.random.Generator,
    resamples: int,
) -> DrawnEffect:
    frame = np.linalg.qr(rest)[0]
    left = y - frame @ (frame.T @ y)
    found = float(_explained(frame, left, basis[None])[0])
    as_large = 0
    for first in range(0, resamples, _AT_ONCE):
        count = min(_AT_ONCE, resamples - first)
        orders = generator.permuted(np.tile(np.arange(len(y)), (count, 1)), axis=1)
        as_large += int((_explained(frame, left, basis[orders]) >= found - 1e-12).sum())
    p = (1 + as_large) / (1 + resamples)
    own = basis - frame @ (frame.T @ basis)
    fitted = basis @ np.linalg.lstsq(own, left, rcond=None)[0]
    lowest, highest = column[int(fitted.argmin())], column[int(fitted.argmax())]
    freedom = len(y) - rest.shape[1] - basis.shape[1]
    f = found / max(1 - found, 1e-15) * freedom / basis.shape[1]
    share = share_of(f, basis.shape[1], freedom)
    return DrawnEffect((name,), share, p, lowest, highest)


def _explained(
    frame: NDArray[np.float64], left: Vector, bases: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Of what the others leave, the share that each basis explains. Shape ``(bases,)``."""
    total = float(left @ left)
    if total <= 1e-28 * (1 + len(left)):
        return np.zeros(len(bases))
    own = bases - frame @ (frame.T @ bases)
    square = own.transpose(0, 2, 1) @ own
    square += 1e-12 * np.eye(own.shape[2]) * (1 + np.trace(square, axis1=1, axis2=2))[:, None, None]
    along = own.transpose(0, 2, 1) @ left
    solved = np.linalg.solve(square, along[..., None])[..., 0]
    return np.asarray((along * solved).sum(-1) / total)


def _basis(column: Sequence[Any]) -> NDArray[np.float64]:
    """Shape ``(n, columns)``: a parabola along numbers, contrasts of other levels."""
    if all(type(level) in (int, float) for level in column):
        x = np.asarray(column, dtype=np.float64)
        if np.ptp(x) == 0:
            return np.empty((len(x), 0))
        if x.min() > 0 and x.max() / x.min() >= 8:
            x = np.log(x)
        x = (x - x.mean()) / x.std()
        if len(np.unique(x)) < 3:
            return np.asarray(x[:, None])
        return np.stack((x, x**2 - 1), axis=1)
    known = {key: place for place, key in enumerate(dict.fromkeys(map(str, column)))}
    codes = np.array([known[str(level)] for level in column])
    return np.asarray(np.eye(len(known))[codes][:, 1:])
