"""Protocols of the growth race, the runs that were made of them, and the page that shows both."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

COVERAGE = 0.95


@dataclass(frozen=True, slots=True)
class Run:
    """What one run came to.

    Args:
        value: The measure of its protocol.
        seconds: Of the processor, for training and growth together.
        growth: How many of them went into growth.
    """

    value: float
    seconds: float
    growth: float = 0.0


@dataclass(frozen=True, slots=True)
class Protocol:
    """A task with the methods that race on it.

    Args:
        letter: What it is called for.
        title: A few words.
        task: What is done, to the letter, and the figures that others reached.
        measure: The name of a run's value.
        methods: By what they do; each takes a seed.
        goals: What is to be reached, in words.
        finding: What the table taught: what was tried, and why some of it failed.
        seeds: How many runs of each method.
        digits: Of the measure, behind the point.
        base: The method whose seconds are 1, if any.
    """

    letter: str
    title: str
    task: str
    measure: str
    methods: Mapping[str, Callable[[int], Run]]
    goals: str = ""
    finding: str = ""
    seeds: int = 5
    digits: int = 2
    base: str | None = None


class Kept:
    """The runs in a file, one a line, so that a race that was stopped goes on where it was.

    Args:
        path: The file; made at the first run.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._runs: dict[tuple[str, str, int], Run] = {}
        for line in path.read_text("utf-8").splitlines() if path.exists() else ():
            found = json.loads(line)
            key = (found.pop("protocol"), found.pop("method"), found.pop("seed"))
            self._runs[key] = Run(**found)

    def runs(self, protocol: Protocol, method: str) -> list[Run]:
        """Those of one method, by seed."""
        keys = ((protocol.letter, method, seed) for seed in range(protocol.seeds))
        return [self._runs[key] for key in keys if key in self._runs]

    def missing(self, protocol: Protocol) -> Iterator[tuple[str, int]]:
        """Methods and seeds that were not run, the first seed of all methods first."""
        for seed in range(protocol.seeds):
            for method in protocol.methods:
                if (protocol.letter, method, seed) not in self._runs:
                    yield method, seed

    def add(self, protocol: Protocol, method: str, seed: int, run: Run) -> None:
        """Remembers a run, and writes it."""
        self._runs[protocol.letter, method, seed] = run
        fields = {"value": run.value, "seconds": run.seconds, "growth": run.growth}
        line = {"protocol": protocol.letter, "method": method, "seed": seed, **fields}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean and half the width of its interval by Student's t; NaN for one value.

    Raises:
        ValueError: There are no values.
    """
    from scipy import stats

    if not values:
        raise ValueError("A mean needs one value or more; got none.")
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, math.nan
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return mean, float(stats.t.ppf((1 + COVERAGE) / 2, len(values) - 1)) * error


def document(protocols: Iterable[Protocol], kept: Kept) -> str:
    """The page: for each protocol what it is, a table and what the table taught."""
    parts = ["# The growth race", _INTRODUCTION]
    for protocol in protocols:
        parts += [f"## {protocol.letter}. {protocol.title}", protocol.task, protocol.goals]
        parts += [_table(protocol, kept), protocol.finding]
    return "\n\n".join(part for part in parts if part) + "\n"


_INTRODUCTION = (
    "Written by `python -m benchmarks.growth_race --markdown docs/growth_race.md`. Seconds are "
    "those of the processor, one thread. Behind ± half the width of the mean's 95 % interval "
    "(Student's t over seeds)."
)


def _table(protocol: Protocol, kept: Kept) -> str:
    found = {method: kept.runs(protocol, method) for method in protocol.methods}
    cost = np.mean([r.seconds for r in found.get(protocol.base or "", ())] or [math.nan])
    header = ["method", protocol.measure, "seconds", "of which growth", "runs"]
    header += ["seconds over the first"] * (protocol.base is not None)
    rows = [header, ["---"] * len(header)]
    for method, runs in found.items():
        if not runs:
            continue
        seconds = float(np.mean([run.seconds for run in runs]))
        growth = float(np.mean([run.growth for run in runs]))
        value = _shown(interval([run.value for run in runs]), protocol.digits)
        row = [method, value, f"{seconds:.1f}", f"{growth:.2f}", str(len(runs))]
        rows.append(row + [f"{seconds / cost:.2f}"] * (protocol.base is not None))
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    rows[1] = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    )


def _shown(value: tuple[float, float], digits: int) -> str:
    mean, half = value
    return f"{mean:.{digits}f}" + (f" ± {half:.{digits}f}" if math.isfinite(half) else "")
