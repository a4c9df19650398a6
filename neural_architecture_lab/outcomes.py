"""What a trial brings back: numbers by name, and curves where there are any."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from neural_architecture_lab.errors import OutcomeError


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an experiment that has more to tell than numbers by name.

    Args:
        metrics: Numbers by name, what predictions are about. NaN is one: a trial that diverged.
        curves: Series of numbers by name, one value an epoch: learning curves.
        events: What happened and when: ``(epoch, words)``, such as growth.
        notes: Further plain data, kept with the trial.
    """

    metrics: Mapping[str, float]
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    events: Sequence[tuple[float, str]] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)


def mean_of(values: Sequence[float]) -> float:
    """The mean, of one number or more: NaN of opposite infinities, as of whatever holds NaN."""
    if not all(map(math.isfinite, values)):
        return sum(values) / len(values)
    top = max(map(abs, values))
    if top <= 1e300:
        return math.fsum(values) / len(values)
    return math.fsum(value / top for value in values) / len(values) * top  # the sum overflows


def outcome_of(returned: object) -> Outcome:
    """What an experiment returned, checked: an `Outcome`, or a mapping from names to numbers.

    Raises:
        OutcomeError: It is neither, or a value is no number.
    """
    if isinstance(returned, Outcome):
        return Outcome(
            _numbers(returned.metrics, "metrics"),
            {name: _series(name, values) for name, values in returned.curves.items()},
            tuple((float(when), str(what)) for when, what in returned.events),
            dict(returned.notes),
        )
    return Outcome(_numbers(returned, "metrics"))


def _numbers(metrics: object, what: str) -> dict[str, float]:
    if not isinstance(metrics, Mapping) or not metrics:
        raise OutcomeError(
            "An experiment must return its metrics, a mapping from names to numbers such as"
            f" {{'accuracy': 0.9}}; got {_shown(metrics)}."
        )
    return {str(name): _number(f"the {what} {name!r}", value) for name, value in metrics.items()}


def _series(name: str, values: Sequence[float]) -> tuple[float, ...]:
    return tuple(_number(f"the curve {name!r}", value) for value in values)


def _number(what: str, value: object) -> float:
    # A tensor or array of one entry is a number; a text is none, even where it reads like one.
    if getattr(value, "ndim", 0) == 0 and hasattr(value, "item"):
        value = value.item()
    if not isinstance(value, Real):
        raise OutcomeError(f"{what} must be a number; got {_shown(value)}.")
    return float(value)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
