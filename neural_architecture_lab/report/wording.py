"""How a report writes numbers, intervals and times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from neural_architecture_lab.outcomes import mean_of
from neural_architecture_lab.statistics import Interval, mean_interval

ABSENT = "—"
ALIKE: Final = "the same on every seed"
"""What is said instead of a difference in its standard deviations, where it has none."""


def number(value: float) -> str:
    """Four digits that say something, without an exponent where that is as short."""
    if not math.isfinite(value):
        return f"{value}"
    if value == round(value) and abs(value) < 1e7:
        return f"{round(value)}"
    if 1e4 <= abs(value) < 1e7:
        return f"{value:.0f}"
    return f"{value:.4g}"


def interval(found: Interval | None) -> str:
    """An estimate with its interval; the estimate alone where nothing varies."""
    if found is None:
        return ABSENT
    if found.low == found.high:
        return number(found.value)
    return f"{number(found.value)} [{number(found.low)}, {number(found.high)}]"


def is_alike(effect: float) -> bool:
    """Whether a difference in its standard deviations is the same on every seed, but for rounding.

    No measurement shows a billion of them.
    """
    return abs(effect) >= 1e9


def standardised(found: Interval | None) -> str:
    """A difference in its standard deviations, with its interval; in words where it has none."""
    return ALIKE if found is not None and is_alike(found.value) else interval(found)


def mean(values: Sequence[float]) -> str:
    """The mean of finite values with its 95 % interval, where two or more differ."""
    if not values:
        return ABSENT
    if len(values) == 1 or max(values) == min(values):
        return number(mean_of(values))
    return interval(mean_interval(values))


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def moment(text: str) -> str:
    """A time as it is stored (ISO 8601), to the second and in UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{found.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
