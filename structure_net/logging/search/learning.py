"""Traits of how a run learned, read from its curves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from structure_net.logging.search.curves import CurveShape, learning_curve, shape_of
from structure_net.logging.search.facts import ExperimentFacts
from structure_net.logging.search.grading import Graded, ramp, scale

_HELD_OUT: Final = ("validation_accuracy", "val_accuracy", "test_accuracy")


def learning_traits(facts: ExperimentFacts) -> Graded:
    """What the curves of an experiment say, and how clearly."""
    if "diverg" in f"{facts.reason} {facts.status}".lower():
        yield "diverged", 1.0
    curve = learning_curve(facts.curves)
    if curve is None:
        return
    name, values = curve
    shape = shape_of(name, values)
    yield "many_epochs", scale(shape.points, 10, 500)
    yield "few_epochs", ramp(shape.points, 10, 2)
    yield "diverged", _diverged(facts, shape)
    yield "not_finite", float(_broken(facts))
    if shape.points < 4 or not shape.finite:
        return
    yield from _shape(shape)
    yield from _held_out(facts)
    yield "overfit", _overfit(facts, name, shape)
    yield "at_once", _at_once(facts)
    yield "fast_learner", _at_once(facts)


def _at_once(facts: ExperimentFacts) -> float:
    """How near the first epoch's accuracy is to the last one's, if that is any good."""
    for name in (*_HELD_OUT, "train_accuracy"):
        values = facts.curves.get(name, ())
        if len(values) > 3 and values[-1] > 0:
            return ramp(values[0] / values[-1], 0.8, 0.97) * ramp(values[-1], 0.5, 0.8)
    return 0.0


def _diverged(facts: ExperimentFacts, shape: CurveShape) -> float:
    if _broken(facts):
        return 1.0
    # What goes up and down may end worse than it began.
    return ramp(shape.worsening, 0.1, 1.0) * (1 - scale(shape.wobble, 0.05, 0.3))


def _broken(facts: ExperimentFacts) -> bool:
    return any(not math.isfinite(value) for curve in facts.curves.values() for value in curve)


def _shape(shape: CurveShape) -> Graded:
    wild = scale(shape.wobble, 0.05, 0.3)
    # Noise turns by little; what turns by much is unstable even where it is slow.
    yield "unstable", max(scale(shape.wobble, 0.02, 0.4), ramp(shape.turns, 3, 9))
    yield "waves", ramp(shape.turns, 2, 6) * scale(shape.wobble, 0.2, 0.02)
    yield "staircase", learned_of(shape) * ramp(shape.jumps, 0.5, 2) * (1 - wild)
    yield "straight", learned_of(shape) * ramp(shape.straight, 0.75, 0.93)
    yield "second_wind", learned_of(shape) * ramp(shape.pause, 0.08, 0.25) * (1 - wild)
    yield "smooth", scale(shape.wobble, 0.02, 0.002) * ramp(shape.turns, 3, 0)
    yield "never_learned", ramp(shape.gain, 0.12, 0.02)
    learned = learned_of(shape)
    yield "recovered", ramp(shape.dip, 0.1, 0.4) * (1 - wild)
    yield "collapsed", learned * ramp(shape.relapse, 0.3, 0.8) * (1 - wild)
    yield "plateau", learned * ramp(shape.settled_at, 0.85, 0.6)
    yield "early_plateau", learned * ramp(shape.settled_at, 0.6, 0.2)
    late = min(ramp(shape.settled_at, 0.45, 0.65), ramp(shape.settled_at, 0.95, 0.8))
    yield "late_plateau", learned * late
    yield "improving", learned * ramp(shape.tail, 0.04, 0.2)
    if shape.turns == 0 and shape.relapse == 0:
        yield "improving", 0.5 * learned * ramp(shape.settled_at, 0.2, 0.5)
    yield "fast_learner", learned * ramp(shape.profile[2], 0.6, 0.95)
    yield "slow_learner", learned * ramp(shape.profile[5], 0.7, 0.2)
    sudden = learned * ramp(shape.jump, 0.25, 0.6) * ramp(shape.jump_at, 0.1, 0.3)
    woke = ramp(shape.wait, 0.12, 0.3) * (1 - ramp(shape.wobble, 0.03, 0.1))
    yield "sudden_gain", 0.7 * learned * woke
    yield "slow_learner", learned * woke
    yield "sudden_gain", sudden * ramp(shape.wobble, 0.1, 0.03)


def learned_of(shape: CurveShape) -> float:
    """Whether there was a gain that is worth a word."""
    return ramp(shape.gain, 0.02, 0.15)


def _held_out(facts: ExperimentFacts) -> Graded:
    """How the scores on data of training and on others lie to each other."""
    train = facts.curves.get("train_accuracy", ())
    other = next((facts.curves[name] for name in _HELD_OUT if name in facts.curves), ())
    if len(train) < 4 or len(other) < 4:
        return
    gap, reached = train[-1] - other[-1], ramp(train[-1], 0.5, 0.8)
    yield "generalises", reached * ramp(gap, 0.03, 0.0)
    yield "better_held_out", ramp(-gap, 0.005, 0.05)
    yield "memorised", ramp(max(train), 0.95, 0.995)
    yield "underfit", ramp(train[-1], 0.75, 0.4)
    yield "grokked", ramp(_when(other) - _when(train), 0.1, 0.4) * ramp(other[-1], 0.6, 0.85)


def _when(values: tuple[float, ...]) -> float:
    """When a rising curve came within a tenth of its best, as a fraction of the run."""
    enough = values[0] + 0.9 * (max(values) - values[0])
    return next(k for k, value in enumerate(values) if value >= enough) / (len(values) - 1)


def _overfit(facts: ExperimentFacts, name: str, shape: CurveShape) -> float:
    held_out = name.startswith(("val", "test"))
    relapse = ramp(shape.relapse, 0.05, 0.3) if held_out else 0.0
    train, other = facts.curves.get("train_accuracy"), facts.curves.get("validation_accuracy")
    gap = ramp(train[-1] - other[-1], 0.04, 0.2) if train and other else 0.0
    # Where training itself gets worse, or all goes up and down, it is something else.
    calm = 1.0 - max(ramp(_train_relapse(facts.curves), 0.0, 0.3), scale(shape.wobble, 0.05, 0.3))
    return (1.0 - (1.0 - relapse) * (1.0 - gap)) * calm


def _train_relapse(curves: Mapping[str, tuple[float, ...]]) -> float:
    for name in ("train_loss", "loss", "train_accuracy"):
        if len(curves.get(name, ())) > 1:
            return shape_of(name, curves[name]).relapse
    return 0.0
