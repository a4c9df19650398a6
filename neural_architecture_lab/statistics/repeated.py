r"""Which factor matters where every seed has run every combination of levels.

Trials of one seed share what the seed decides (weights, the order of batches), at every level of
every factor, so that they are no independent draws. What seeds disagree about an effect is the
measure of its error: a repeated-measures analysis of variance, whose degrees of freedom allow for
unequal spreads (Greenhouse and Geisser). With a seed's contrasts :math:`c_s \in R^q` of an effect
and their mean :math:`\bar c` over :math:`n` seeds,

.. math:: F = \frac{n \lVert \bar c \rVert^2 (n - 1)}{\sum_s \lVert c_s - \bar c \rVert^2}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neural_architecture_lab.statistics.factors import FactorEffect, share_of
from neural_architecture_lab.statistics.intervals import Interval
from neural_architecture_lab.statistics.samples import check_fraction, sample, scaled


def repeated_effects(
    factors: Mapping[str, Sequence[Any]],
    seeds: Sequence[Any],
    response: ArrayLike,
    *,
    confidence: float = 0.95,
) -> tuple[FactorEffect, ...]:
    """Main effects and two-way interactions of factors, each against what seeds disagree about it.

    Args:
        factors: For each factor the level in each trial: ``n`` of them, two or more distinct.
        seeds: The seed of each trial.
        response: Shape ``(n,)``.
        confidence: Of the intervals of the shares, in (0, 1).

    Returns:
        The effects, the largest share first.

    Raises:
        ValueError: The lengths differ, a factor has one level, there are fewer than three seeds, or
            a seed has not every combination of levels once.

    References:
        Greenhouse and Geisser, "On methods in the analysis of profile data", 1959.
    """
    check_fraction(confidence=confidence)
    y, _ = scaled(sample(response, least=3, name="response"))
    cube = _cube(factors, seeds, y)
    names = tuple(factors)
    terms = [(name,) for name in names] + list(combinations(names, 2))
    nothing = 1e-26 * float((cube**2).sum())
    found = [
        _effect(term, _contrasts(cube, [names.index(name) for name in term]), nothing, confidence)
        for term in terms
    ]
    return tuple(sorted(found, key=lambda effect: -effect.share.value))


def _cube(
    factors: Mapping[str, Sequence[Any]], seeds: Sequence[Any], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The response by seed and levels. Shape ``(seeds, levels of the first factor, ...)``."""
    places: list[Any] = []
    for name, column in {"seeds": seeds, **factors}.items():
        if len(column) != len(y):
            raise ValueError(f"There are {len(y)} responses, but {name!r} has {len(column)}.")
        known = {level: place for place, level in enumerate(dict.fromkeys(column))}
        if len(known) < (3 if not places else 2):
            raise ValueError(
                f"{name!r} must have {'three' if not places else 'two'} levels or more; got"
                f" {len(known)}."
            )
        places.append(np.array([known[level] for level in column]))
    shape = [int(place.max()) + 1 for place in places]
    cube = np.full(shape, np.nan)
    cube[tuple(places)] = y
    if cube.size != len(y) or np.isnan(cube).any():
        raise ValueError(
            f"Every seed must have every combination of levels once, {cube.size} trials in all; got"
            f" {len(y)}, or some of them twice."
        )
    return cube


def _contrasts(cube: NDArray[np.float64], axes: Sequence[int]) -> NDArray[np.float64]:
    """Each seed's orthonormal contrasts over the given factors. Shape ``(seeds, contrasts)``."""
    others = tuple(axis + 1 for axis in range(cube.ndim - 1) if axis not in axes)
    table = cube.mean(others) if others else cube
    for axis in range(1, table.ndim):
        table = np.moveaxis(np.moveaxis(table, axis, -1) @ _basis(table.shape[axis]), -1, axis)
    return table.reshape(len(table), -1)


def _basis(count: int) -> NDArray[np.float64]:
    """Orthonormal columns that sum to zero. Shape ``(count, count - 1)``."""
    columns = np.eye(count)[:, 1:] - 1 / count
    return np.asarray(np.linalg.qr(columns)[0])


def _effect(
    term: tuple[str, ...], contrasts: NDArray[np.float64], nothing: float, confidence: float
) -> FactorEffect:
    from scipy import stats

    seeds, count = contrasts.shape
    mean = contrasts.mean(0)
    apart = contrasts - mean
    explained, left = seeds * float(mean @ mean), float((apart**2).sum())
    if left <= nothing:  # what rounding leaves
        f, p = (0.0, 1.0) if explained <= nothing else (float("inf"), 0.0)
        share = Interval(*((0.0,) * 3 if p else (1.0,) * 3), confidence)
        return FactorEffect(term, f, p, (count, count * (seeds - 1)), share)
    # Of covariance and Gram matrix the smaller one: both have the same traces.
    gram = apart @ apart.T if seeds <= count else apart.T @ apart
    sphericity = max(float(np.trace(gram)) ** 2 / (count * float((gram**2).sum())), 1 / count)
    freedom = (count * sphericity, count * (seeds - 1) * sphericity)
    f = explained * (seeds - 1) / left
    p = float(stats.f.sf(f, *freedom))
    return FactorEffect(term, f, p, freedom, share_of(f, *freedom, confidence=confidence))
