"""The shape of a learning curve in a few numbers, so that curves of any length can be compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEARNING: Final = (
    "validation_loss",
    "val_loss",
    "validation_accuracy",
    "val_accuracy",
    "test_loss",
    "test_accuracy",
    "train_loss",
    "loss",
    "train_accuracy",
    "accuracy",
)
"""The curves that tell how a run learned, the best witness first."""

SETTLED: Final = 0.05
"""A curve has settled when no more than this part of its whole gain is still to come."""

TURN: Final = 0.2
"""A curve turns round where it comes back by more than this part of its range."""

STEP: Final = 0.08
"""This part of the whole gain is worth waiting for."""

_JUMP: Final = 0.03
"""A jump is at least this part of the whole gain."""

_REST: Final = 0.02
"""A curve rests while it gains no more than this part of its whole gain."""

POINTS: Final = 12
"""To how many points `CurveShape.profile` brings a curve."""

_RISING: Final = ("accuracy", "score", "auc", "f1", "r2")


@dataclass(frozen=True, slots=True)
class CurveShape:
    """What a learning curve looks like; a loss falls, an accuracy is turned over.

    Args:
        points: Its length.
        settled_at: When it settled: the first point after which at most `SETTLED` of the whole
            gain, or no more than its noise, was still to come, as a fraction of the run in [0, 1].
        tail: How far the mean of the last quarter is better than that of the third, of the values
            and of the best so far, whichever is less, as a fraction of the whole gain: a quarter
            for a straight line, nothing for a curve that has settled or only made a fall good.
        gain: The whole gain, as a fraction of the first value's distance from a perfect one.
        relapse: How far the last value is worse than the best, as a fraction of the whole gain.
        worsening: How far the last value is worse than the first, as a fraction of the first.
        wobble: The median step back or forth beside the trend, as a fraction of the curve's range.
        dip: The deepest fall from the best so far that was made good again by more than half, as a
            fraction of the whole gain.
        turns: How often the curve turned round by more than `TURN` of its range.
        jump: The largest gain from one point to the next, the first step aside, as a fraction of
            the whole gain.
        jump_at: Where that was, as a fraction of the run.
        jumps: How often far more was gained from one point to the next than just before.
        straight: How near the way to where it settled is to a straight line, in [0, 1].
        pause: The longest rest after which more than `STEP` of the whole gain was still made, as a
            fraction of the run; one from the beginning on is not counted.
        wait: Up to where hardly anything was gained, as a fraction of the run.
        finite: Whether all values are finite.
        profile: The best value so far at `POINTS` points of the run, from 0 (first) to 1 (best).
    """

    points: int
    settled_at: float
    tail: float
    gain: float
    relapse: float
    worsening: float
    wobble: float
    dip: float
    turns: int
    jump: float
    jump_at: float
    jumps: int
    straight: float
    pause: float
    wait: float
    finite: bool
    profile: tuple[float, ...]


def learning_curve(curves: Mapping[str, tuple[float, ...]]) -> tuple[str, tuple[float, ...]] | None:
    """The curve that tells best how a run learned, with its name; None if there is none."""
    for name in LEARNING:
        if len(curves.get(name, ())) > 1:
            return name, curves[name]
    return next(((name, values) for name, values in curves.items() if len(values) > 1), None)


@lru_cache(maxsize=64)
def shape_of(name: str, values: tuple[float, ...]) -> CurveShape:
    """The shape of a curve.

    Args:
        name: What it measures; an accuracy or a score rises, anything else falls.
        values: At least two.
    """
    raw = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(raw)
    losses = as_losses(name, raw)
    # What is not finite is worse than all else, and nothing more can be said of it.
    worst = np.max(losses[finite], initial=0.0)
    losses = np.where(finite, losses, worst + abs(worst) + 1.0)
    best = np.minimum.accumulate(losses)
    whole = best[0] - best[-1]
    last = len(losses) - 1
    wobble = _wobble(losses)
    # What lies within the noise is no gain.
    close = max(SETTLED * whole, wobble * float(np.ptp(losses)))
    settled = int(np.argmax(best - best[-1] <= close)) if whole > 0 else 0
    scale = max(abs(losses[0]), 1e-12)
    done = (best[0] - best) / whole if whole > 0 else np.zeros(len(best))
    places = np.linspace(0, last, POINTS)
    gains = -np.diff(best)[1:]
    jumped = int(np.argmax(gains)) if len(gains) else 0
    return CurveShape(
        points=len(losses),
        settled_at=settled / last,
        tail=min(_tail(losses, whole), _tail(best, whole)),
        gain=float(whole / scale),
        relapse=_ratio(losses[-1] - best[-1], whole),
        worsening=float((losses[-1] - losses[0]) / scale),
        wobble=wobble,
        dip=_ratio(_dip(losses, best), whole),
        turns=_turns(losses),
        jump=_ratio(float(np.max(gains, initial=0.0)), whole),
        jump_at=(jumped + 2) / last,
        jumps=_jumps(done, 4 * wobble),
        straight=_straight(done[: settled + 1]),
        pause=_pause(done),
        wait=max(int(np.argmax(done > _REST)) - 1, 0) / last,
        finite=bool(finite.all()),
        profile=tuple(np.interp(places, np.arange(len(done)), done).tolist()),
    )


def as_losses(name: str, raw: NDArray[np.float64]) -> NDArray[np.float64]:
    """A curve of which less is better: a loss, or how far an accuracy is from a perfect one."""
    if not name.endswith(_RISING):
        return raw
    perfect = 1.0 if np.max(raw[np.isfinite(raw)], initial=0.0) <= 1 else 100.0
    return perfect - raw


def _ratio(part: float, whole: float) -> float:
    if part <= 0:
        return 0.0
    return min(float(part / whole), 10.0) if whole > 0 else 10.0


def _tail(losses: NDArray[np.float64], whole: float) -> float:
    quarter = max(len(losses) // 4, 1)
    third, fourth = losses[-2 * quarter : -quarter], losses[-quarter:]
    return float((np.mean(third) - np.mean(fourth)) / whole) if len(third) and whole > 0 else 0.0


def _dip(losses: NDArray[np.float64], best: NDArray[np.float64]) -> float:
    """The largest loss above the best so far that later came down by more than half of that."""
    fallen = losses - best
    after = np.minimum.accumulate(losses[::-1])[::-1]
    recovered = losses - after > fallen / 2
    return float(np.max(fallen, where=recovered, initial=0.0))


def _wobble(losses: NDArray[np.float64]) -> float:
    """The median distance of a point from the middle of its neighbours, against the range."""
    if len(losses) < 4 or math.isclose(spread := float(np.ptp(losses)), 0.0):
        return 0.0
    middle = (losses[:-2] + losses[2:]) / 2
    return float(np.median(np.abs(losses[1:-1] - middle)) / spread)


def _jumps(done: NDArray[np.float64], least: float) -> int:
    """How many steps are much larger than the three before them, and than the noise."""
    steps = np.diff(done)
    found = 0
    for place in range(3, len(steps)):
        before = float(np.max(steps[place - 3 : place]))
        found += bool(steps[place] > max(_JUMP, least, 3 * before))
    return found


def _straight(done: NDArray[np.float64]) -> float:
    if len(done) < 5:
        return 0.0
    return 1.0 - float(np.max(np.abs(done - np.linspace(done[0], done[-1], len(done)))))


def _pause(done: NDArray[np.float64]) -> float:
    """The longest stretch with hardly a gain, before at least `STEP` more."""
    longest, start = 0, 0
    for place in range(1, len(done)):
        if done[place] > done[start] + _REST:
            resumes = done[-1] - done[start] > STEP
            if start > 0 and resumes:
                longest = max(longest, place - 1 - start)
            start = place
    return longest / max(len(done) - 1, 1)


def _turns(losses: NDArray[np.float64]) -> int:
    """How often a curve turned round, by more than `TURN` of its range."""
    least = TURN * float(np.ptp(losses))
    turns, rising, extreme = 0, False, float(losses[0])
    for value in losses[1:] if least > 0 else ():
        ahead = (value - extreme) if rising else (extreme - value)
        if ahead >= 0:
            extreme = float(value)
        elif -ahead > least:
            turns, rising, extreme = turns + 1, not rising, float(value)
    return turns
