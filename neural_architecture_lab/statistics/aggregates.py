"""Scores of several tasks and seeds in one number or curve, with stratified bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neural_architecture_lab.statistics.intervals import Interval
from neural_architecture_lab.statistics.samples import (
    Vector,
    check_fraction,
    sample,
    scaled,
    unscaled,
)


def interquartile_mean(scores: ArrayLike) -> float:
    """The mean of the middle half of all scores: as robust as a median, as efficient as a mean.

    Args:
        scores: Any shape, one or more.

    Raises:
        ValueError: There is none, or one is not finite.

    References:
        Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice",
        NeurIPS 2021.
    """
    flat = np.sort(sample(np.ravel(np.asarray(scores, dtype=np.float64)), name="scores"))
    cut = len(flat) // 4
    middle, exponent = scaled(flat[cut : len(flat) - cut])
    return unscaled(float(middle.mean()), exponent)


def stratified_interval(
    scores: ArrayLike,
    statistic: Callable[[NDArray[np.float64]], float] = interquartile_mean,
    *,
    confidence: float = 0.95,
    resamples: int = 2_000,
    seed: int = 0,
) -> Interval:
    """A statistic over seeds and tasks; seeds are drawn anew within each task.

    The percentile interval of Agarwal et al. It is for several tasks: with one task and few seeds
    it misses too often (`mean_interval` does not; the benchmark ``error_rates`` says how often).

    Args:
        scores: Shape ``(seeds, tasks)``.
        statistic: Takes such a matrix.
        confidence: In (0, 1).
        resamples: How many matrices are drawn.
        seed: What they are drawn with.

    Raises:
        ValueError: ``scores`` is no matrix with two seeds, or one is not finite.
    """
    check_fraction(confidence=confidence)
    table = _matrix(scores)
    generator = np.random.default_rng(seed)
    columns = np.arange(table.shape[1])
    drawn = [
        statistic(table[generator.integers(len(table), size=table.shape), columns])
        for _ in range(resamples)
    ]
    low, high = np.quantile(drawn, ((1 - confidence) / 2, (1 + confidence) / 2))
    return Interval(float(statistic(table)), float(low), float(high), confidence)


@dataclass(frozen=True, slots=True)
class Profile:
    """A performance profile: which fraction of runs scores above each threshold.

    Args:
        thresholds: Shape ``(k,)``.
        fractions: Shape ``(k,)``, falling.
        low: The lower end of the band. Shape ``(k,)``.
        high: The upper end. Shape ``(k,)``.
    """

    thresholds: Vector
    fractions: Vector
    low: Vector
    high: Vector


def performance_profile(
    scores: ArrayLike,
    thresholds: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 2_000,
    seed: int = 0,
) -> Profile:
    """The fraction of runs that score above each threshold, with a pointwise band.

    Args:
        scores: Shape ``(seeds, tasks)``.
        thresholds: Shape ``(k,)``.
        confidence: Of the band, in (0, 1).
        resamples: How many matrices are drawn, seeds within tasks.
        seed: What they are drawn with.

    Raises:
        ValueError: ``scores`` is no matrix with two seeds, or one is not finite.

    References:
        Dolan and More, "Benchmarking optimization software with performance profiles", 2002.
        Agarwal et al. 2021.
    """
    check_fraction(confidence=confidence)
    table, levels = _matrix(scores), sample(thresholds, name="thresholds")
    above = table[:, :, None] > levels
    generator = np.random.default_rng(seed)
    columns = np.arange(table.shape[1])
    drawn = np.stack(
        [
            above[generator.integers(len(table), size=table.shape), columns].mean((0, 1))
            for _ in range(resamples)
        ]
    )
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)
    low, high = np.quantile(drawn, tails, axis=0)
    return Profile(levels, above.mean((0, 1)), low, high)


def probability_of_improvement(treated: ArrayLike, control: ArrayLike) -> float:
    """How probably a run of one arm beats a run of the other on the same task; ties count half.

    Args:
        treated: Shape ``(seeds, tasks)``.
        control: Shape ``(seeds', tasks)``.

    Raises:
        ValueError: They differ in their tasks, are no matrices, or one is not finite.
    """
    a, b = _matrix(treated), _matrix(control)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"Both arms must have the same tasks; got {a.shape[1]} and {b.shape[1]}.")
    wins = np.sign(a[:, None, :] - b[None, :, :])
    return float((wins.mean() + 1) / 2)


def _matrix(scores: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or len(table) < 2 or table.shape[1] < 1:
        raise ValueError(
            f"scores must have shape (seeds, tasks) with two seeds or more; got {table.shape}."
        )
    if not np.isfinite(table).all():
        raise ValueError("scores must be finite; leave out seeds with a failed trial.")
    return table
