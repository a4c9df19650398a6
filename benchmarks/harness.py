"""Ratios measured in one run: candidates take turns, so that a machine's moods hit all of them.

On a machine that others use too, `BENCHMARK_CLOCK=cpu` counts this process's own seconds, which are
the same with one thread.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Timed = Callable[[], float]

_CPU = os.environ.get("BENCHMARK_CLOCK") == "cpu"
now = time.process_time if _CPU else time.perf_counter
"""The clock: seconds."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number.

    Args:
        name: What was measured.
        value: The number.
        unit: Its unit; "x" for a ratio.
        goal: The largest value that is good enough; None where there is no goal.
        note: How it was measured.
    """

    name: str
    value: float
    unit: str
    goal: float | None = None
    note: str = ""


def seconds(action: Callable[[], object]) -> float:
    """How long ``action`` takes, once."""
    start = now()
    action()
    return now() - start


def interleaved(
    candidates: Mapping[str, Timed], repeats: int, *, warm_ups: int = 1
) -> dict[str, float]:
    """The median seconds of each candidate over ``repeats`` rounds in which each has one turn.

    Args:
        candidates: Each runs once and returns the seconds that count.
        repeats: The number of rounds that count.
        warm_ups: Rounds before them that do not.
    """
    rounds = [{name: run() for name, run in candidates.items()} for _ in range(warm_ups + repeats)]
    return {name: statistics.median(one[name] for one in rounds[warm_ups:]) for name in candidates}


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times what one candidate takes that another takes.

    Args:
        median: Of the ratios of all pairs.
        low: Lower end of its 95 % confidence interval.
        high: Upper end.
        pairs: How many turns each had.
    """

    median: float
    low: float
    high: float
    pairs: int

    def percent(self, of: str = "") -> str:
        """The interval as additional per cent, in words."""
        low, high = 100 * (self.low - 1), 100 * (self.high - 1)
        return f"95 % interval {low:+.2f} to {high:+.2f} %, {self.pairs} pairs{of}"


def ratio_of(ratios: Sequence[float]) -> Ratio:
    """The median of ratios from short turns side by side, with the interval of the sign test.

    What else the machine does hits both turns of a pair alike. The interval's ends are two order
    statistics, whatever the distribution is.

    Args:
        ratios: At least 6.
    """
    found, pairs = sorted(ratios), len(ratios)
    place = max(0, int((pairs - 1.96 * pairs**0.5) / 2) - 1)
    return Ratio(statistics.median(found), found[place], found[-1 - place], pairs)


def table(figures: list[Figure]) -> str:
    """The figures as a Markdown table, which is readable as it stands."""
    header = ("what", "measured", "goal", "how")
    rows = [(one.name, _shown(one.value, one.unit), _goal(one), one.note) for one in figures]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(4)]
    lines = [header, tuple("-" * width for width in widths), *rows]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )


def _shown(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}"


def _goal(figure: Figure) -> str:
    if figure.goal is None:
        return ""
    met = "met" if figure.value <= figure.goal else "MISSED"
    return f"<= {figure.goal:g} {figure.unit}: {met}"
