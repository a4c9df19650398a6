"""What is best when several things count: fronts, and how sure it is that an arm is on one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neural_architecture_lab.statistics.samples import Vector, scaled

Direction: TypeAlias = Literal["max", "min"]


def pareto_front(points: ArrayLike, directions: Sequence[Direction]) -> NDArray[np.bool_]:
    """Which points nothing else beats: at least as good in everything, better in something.

    Args:
        points: Shape ``(n, objectives)``.
        directions: ``"max"`` or ``"min"`` for each objective.

    Returns:
        Shape ``(n,)``; equal points are on the front together.

    Raises:
        ValueError: The shapes do not fit, a value is not finite, or a direction is unknown.
    """
    table = _oriented(points, directions)
    return np.array([not _beaten(table, row) for row in table], dtype=np.bool_)


def front_probability(
    samples: ArrayLike, directions: Sequence[Direction], *, resamples: int = 2_000, seed: int = 0
) -> Vector:
    """How often each arm is on the front when the seeds are drawn anew, the same for all arms.

    Args:
        samples: Shape ``(seeds, arms, objectives)``: paired seeds.
        directions: For each objective.
        resamples: How many sets of seeds are drawn.
        seed: What they are drawn with.

    Returns:
        Shape ``(arms,)``, in [0, 1].

    Raises:
        ValueError: The shapes do not fit, or a value is not finite.
    """
    cube = np.asarray(samples, dtype=np.float64)
    if cube.ndim != 3 or cube.shape[0] < 2:
        raise ValueError(
            "samples must have shape (seeds, arms, objectives) with two seeds or more; got"
            f" {cube.shape}."
        )
    cube = np.stack([scaled(cube[..., one])[0] for one in range(cube.shape[2])], axis=-1)
    generator = np.random.default_rng(seed)
    draws = generator.integers(len(cube), size=(resamples, len(cube)))
    on_front = [pareto_front(cube[draw].mean(0), directions) for draw in draws]
    return np.asarray(np.mean(on_front, axis=0), dtype=np.float64)


def hypervolume(
    points: ArrayLike, reference: tuple[float, float], directions: Sequence[Direction]
) -> float:
    """The area that the front of two objectives dominates, up to a reference point.

    Args:
        points: Shape ``(n, 2)``. What is no better than the reference adds nothing.
        reference: The worst values that count.
        directions: For the two objectives.

    Raises:
        ValueError: There are not two objectives, or a value is not finite.
    """
    table = _oriented(points, directions)
    if table.shape[1] != 2:
        raise ValueError(f"hypervolume takes two objectives; got {table.shape[1]}.")
    origin = _oriented([list(reference)], directions)[0]
    gains = table - origin
    gains = gains[(gains > 0).all(1)]
    area, height = 0.0, 0.0
    for x, y in gains[np.argsort(-gains[:, 0], kind="stable")]:
        if y > height:
            area += x * (y - height)
            height = y
    return float(area)


def _beaten(table: NDArray[np.float64], row: Vector) -> bool:
    return bool(((table >= row).all(1) & (table > row).any(1)).any())


def _oriented(points: ArrayLike, directions: Sequence[Direction]) -> NDArray[np.float64]:
    table = np.asarray(points, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != len(directions):
        raise ValueError(
            f"points must have shape (n, {len(directions)}), one column for each direction; got"
            f" {table.shape}."
        )
    if not np.isfinite(table).all():
        raise ValueError("points must be finite; leave failed trials out.")
    if unknown := [direction for direction in directions if direction not in ("max", "min")]:
        raise ValueError(f"A direction must be 'max' or 'min'; got {unknown[0]!r}.")
    signs = np.array([1.0 if direction == "max" else -1.0 for direction in directions])
    return np.asarray(table * signs, dtype=np.float64)
