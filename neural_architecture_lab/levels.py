"""Settings as plain data, and the levels that factors take of them."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias

from neural_architecture_lab.errors import HypothesisError

Setting: TypeAlias = "str | int | float | bool | Sequence[Setting] | Mapping[str, Setting] | None"
Layout: TypeAlias = Literal["grid", "random", "latin-hypercube"]


def is_number(value: object) -> bool:
    """Whether a value is a finite number, and no truth value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max


@dataclass(frozen=True, slots=True)
class Range:
    """The values that a factor takes between two ends, where they are drawn rather than listed.

    Args:
        low: The lower end.
        high: The upper end, above it.
        log: Whether they are even in their logarithm; both ends are positive then.
        whole: Whether they are whole numbers.

    Raises:
        HypothesisError: It does not go up between finite ends, or is logarithmic from 0 or below.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        finite = is_number(self.low) and is_number(self.high)
        if not (finite and self.low < self.high) or (self.log and self.low <= 0):
            raise HypothesisError(
                "A range must go up from low to high, from above 0 where it is logarithmic; got"
                f" {self.low!r} to {self.high!r}."
            )

    def at(self, fraction: float) -> float | int:
        """The value at ``fraction`` of the way, in [0, 1]."""
        if self.log:
            span = math.log(self.high) - math.log(self.low)
            value = math.exp(math.log(self.low) + fraction * span)
        else:
            value = self.low + fraction * (self.high - self.low)
        return round(value) if self.whole else value


def plain(settings: Mapping[str, Any], what: str) -> Mapping[str, Setting]:
    """A copy of ``settings`` as plain data.

    Raises:
        HypothesisError: A value is no plain data, such as a module or a function.
    """
    if not isinstance(settings, Mapping):
        raise HypothesisError(f"{what} must be a mapping from names to values; got {settings!r}.")
    if len({str(name) for name in settings}) < len(settings):
        raise HypothesisError(f"{what} must differ in their names as texts; got {list(settings)}.")
    try:
        return {str(name): _plain(value, f"{what}: {name}") for name, value in settings.items()}
    except RecursionError as error:
        raise HypothesisError(f"{what} must be plain data; got what holds itself.") from error


def _plain(value: Any, what: str) -> Setting:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Integral | Real):  # numpy's
        return int(value) if isinstance(value, Integral) else float(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{what}.{key}") for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [_plain(item, what) for item in value]
    raise HypothesisError(
        f"{what} must be plain data (text, numbers, lists, mappings), so that it can be stored and"
        f" sent to workers; got {value!r}."
    )


def checked_factors(
    factors: Mapping[str, Sequence[Setting] | Range], layout: str, points: int | None
) -> Mapping[str, Sequence[Setting] | Range]:
    """Factors as plain data, by name.

    Raises:
        HypothesisError: The layout is unknown, or does not go with the factors or the points.
    """
    if layout not in ("grid", "random", "latin-hypercube"):
        raise HypothesisError(
            f"layout must be 'grid', 'random' or 'latin-hypercube'; got {layout!r}."
        )
    if not isinstance(factors, Mapping):
        raise HypothesisError(f"factors must be levels by name; got {factors!r:.80}.")
    checked: dict[str, Sequence[Setting] | Range] = {}
    for name, levels in factors.items():
        if isinstance(levels, Range):
            if layout == "grid":
                raise HypothesisError(
                    f"The factor {name!r} is a range, which a grid cannot list; list its levels, or"
                    " choose layout='latin-hypercube' and points=."
                )
            checked[name] = levels
        else:
            checked[name] = checked_levels(name, levels)
    if layout != "grid" and (type(points) is not int or points < 2):
        raise HypothesisError(f"layout={layout!r} needs points=, 2 or more; got {points!r}.")
    return checked


def checked_levels(name: str, levels: Sequence[Setting]) -> tuple[Setting, ...]:
    """The levels of a factor as plain data.

    Raises:
        HypothesisError: There are fewer than two, two are alike, or one is no plain data.
    """
    if isinstance(levels, str) or not isinstance(levels, Sequence) or len(levels) < 2:
        raise HypothesisError(f"The factor {name!r} needs two levels or more; got {levels!r}.")
    found = tuple(_plain(level, f"a level of {name!r}") for level in levels)
    if any(level in found[:place] for place, level in enumerate(found)):
        raise HypothesisError(f"The levels of {name!r} must differ; got {list(found)}.")
    return found
