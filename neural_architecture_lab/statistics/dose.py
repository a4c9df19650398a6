"""How an outcome follows a numeric factor: its slope, and where the line bends.

Every seed sees every level, so that each seed has a line of its own; what the seeds agree on is the
answer. Levels that span orders of magnitude (widths, densities, learning rates) are better given as
logarithms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neural_architecture_lab.statistics.intervals import (
    LEAST_FOR_BOOTSTRAP,
    Interval,
    mean_interval,
)
from neural_architecture_lab.statistics.location import Significance, paired_t
from neural_architecture_lab.statistics.samples import (
    Vector,
    check_fraction,
    sample,
    scaled,
    unscaled,
)


@dataclass(frozen=True, slots=True)
class DoseResponse:
    """A numeric factor's effect.

    Args:
        slope: The mean slope over the seeds, per unit of the level.
        significance: Student's t test of the seeds' slopes.
        monotone: The p-value of Page's test of an ordered trend, in the slope's direction.
    """

    slope: Interval
    significance: Significance
    monotone: float


@dataclass(frozen=True, slots=True)
class Bend:
    """Where a straight line does not do.

    Args:
        level: The level at which a change of slope explains most of the mean outcome.
        change: The mean change of the slope there.
        p_value: Of a change of slope at any level, all of which were tried.
        range: Between which levels the bend lies in 95 % of resamples of the seeds; None for fewer
            than eight seeds.
    """

    level: float
    change: float
    p_value: float
    range: tuple[float, float] | None


def dose_response(
    levels: ArrayLike, scores: ArrayLike, *, confidence: float = 0.95
) -> DoseResponse:
    """The slope of an outcome along a numeric factor, and whether it goes one way.

    Args:
        levels: Shape ``(k,)``, three or more, distinct.
        scores: Shape ``(seeds, k)``, two seeds or more.
        confidence: Of the slope's interval, in (0, 1).

    Raises:
        ValueError: The shapes do not fit, levels repeat, or a value is not finite.

    References:
        Page, "Ordered hypotheses for multiple treatments", 1963.
    """
    from scipy import stats

    check_fraction(confidence=confidence)
    x, table = _checked(levels, scores)
    table, exponent = scaled(table)
    slopes = _more_than_rounding(table, (x - x.mean()) / ((x - x.mean()) ** 2).sum())
    order = np.argsort(x) if slopes.mean() >= 0 else np.argsort(-x)
    monotone = float(stats.page_trend_test(table[:, order]).pvalue)
    found = mean_interval(slopes, confidence=confidence)
    value, low, high = (unscaled(one, exponent) for one in (found.value, found.low, found.high))
    slope = Interval(value, low, high, confidence)
    return DoseResponse(slope, paired_t(slopes), monotone)


def bend(levels: ArrayLike, scores: ArrayLike, *, resamples: int = 5_000, seed: int = 0) -> Bend:
    """Where the slope changes, with a p-value that allows for having looked everywhere.

    The bend is where a broken line fits the mean over the seeds best. Whether there is any is
    tested apart from that: for each inner level the seeds' changes of slope are tested by their t
    statistic, and the largest of these is compared with what it is where each seed's deviations
    from its own line change sign at random. It assumes that these deviations are symmetric where
    nothing bends.

    Args:
        levels: Shape ``(k,)``, four or more, distinct.
        scores: Shape ``(seeds, k)``, two seeds or more.
        resamples: How many assignments of signs, and of seeds, are drawn.
        seed: What they are drawn with.

    Raises:
        ValueError: The shapes do not fit, levels repeat, or a value is not finite.

    References:
        Westfall and Young, "Resampling-based multiple testing", 1993.
    """
    x, table = _checked(levels, scores, least=4)
    table, exponent = scaled(table)
    inner = np.sort(x)[1:-1]
    hinges = _unexplained(x, np.maximum(x[None, :] - inner[:, None], 0))
    changes = _more_than_rounding(table, (hinges / (hinges**2).sum(1, keepdims=True)).T)
    found = np.abs(_t(changes))
    most, best = float(found.max()), _place(changes.mean(0), hinges)
    generator = np.random.default_rng(seed)
    signs = generator.choice((-1.0, 1.0), size=(resamples, len(table), 1))
    largest = np.abs(_t(signs * changes)).max(-1)
    p = float((1 + (largest >= most - 1e-12).sum()) / (1 + resamples))
    where = None
    if len(table) >= LEAST_FOR_BOOTSTRAP:
        draws = changes[generator.integers(len(table), size=(resamples, len(table)))]
        places = inner[_place(draws.mean(1), hinges)]
        where = (float(np.quantile(places, 0.025)), float(np.quantile(places, 0.975)))
    change = unscaled(float(changes[:, best].mean()), exponent)
    return Bend(float(inner[best]), change, p, where)


def _more_than_rounding(
    table: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``table @ weights``, and 0 where rounding alone can have made it."""
    small = 1e-13 * np.abs(table) @ np.abs(weights)
    found = table @ weights
    return np.where(np.abs(found) <= small, 0.0, found)


def _place(changes: Any, hinges: NDArray[np.float64]) -> Any:
    """Which hinge explains most. ``changes``: shape ``(..., hinges)``."""
    return (changes**2 * (hinges**2).sum(1)).argmax(-1)


def _t(changes: NDArray[np.float64]) -> Vector:
    """The t statistics over the seeds, the axis before the last one."""
    n = changes.shape[-2]
    error = changes.std(-2, ddof=1) / n**0.5
    floor = 1e-12 * np.abs(changes).max() + np.finfo(np.float64).tiny
    return np.asarray(changes.mean(-2) / np.maximum(error, floor))


def _unexplained(x: Vector, hinges: NDArray[np.float64]) -> NDArray[np.float64]:
    """What of each hinge no straight line explains. Shape ``(hinges, k)``."""
    line = np.stack((np.ones_like(x), x - x.mean()))
    line /= np.linalg.norm(line, axis=1, keepdims=True)
    return np.asarray(hinges - (hinges @ line.T) @ line, dtype=np.float64)


def _checked(
    levels: ArrayLike, scores: ArrayLike, *, least: int = 3
) -> tuple[Vector, NDArray[np.float64]]:
    x = sample(levels, least=least, name="levels")
    if len(np.unique(x)) != len(x):
        raise ValueError(f"levels must be distinct; got {x.tolist()}.")
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != len(x) or len(table) < 2:
        raise ValueError(
            f"scores must have shape (seeds, {len(x)}) with two seeds or more; got {table.shape}."
        )
    if not np.isfinite(table).all():
        raise ValueError("scores must be finite; leave out seeds with a failed trial.")
    return x, table
