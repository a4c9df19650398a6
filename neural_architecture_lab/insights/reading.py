"""Trials without their curves, and means of them by arm and seed."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neural_architecture_lab.outcomes import mean_of
from neural_architecture_lab.store import Archive

if TYPE_CHECKING:
    from structure_net.logging.records import Trial as TrialRecord

Table = Mapping[str, Mapping[int, float]]
"""Values by arm and seed."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A trial that ended, without its curves.

    Args:
        arm: Which arm.
        seed: Which seed.
        point: Which point of the factors.
        factors: The levels there.
        settings: All that the experiment was told.
        status: How it ended.
        metrics: What came out.
        seconds: How long it ran.
        memory: The most memory that its process held, in MiB, where that is known.
        error: What went wrong; empty where nothing did.
    """

    arm: str
    seed: int
    point: int
    factors: Mapping[str, Any]
    settings: Mapping[str, Any]
    status: str
    metrics: Mapping[str, float]
    seconds: float
    memory: float | None
    error: str


def tried_of(trial: TrialRecord) -> Tried:
    """A trial's record without curves and events."""
    return Tried(
        trial.arm,
        trial.seed,
        trial.point,
        trial.factors,
        trial.settings,
        trial.status,
        dict(trial.metrics),
        trial.seconds,
        trial.memory,
        trial.error,
    )


def read_tried(archive: Archive, hypothesis: str) -> tuple[Tried, ...]:
    """The trials of a hypothesis, each as it ended last."""
    found = {trial.trial: tried_of(trial) for trial in archive.trials(hypothesis)}
    return tuple(found.values())


def averaged(trials: Iterable[Tried], metric: str, points: int) -> Table:
    """A metric by arm and seed, averaged over the points of the factors.

    Args:
        trials: Those of one hypothesis.
        metric: Its name.
        points: How many points a seed has. One that lacks a point has no value.
    """
    sums: dict[tuple[str, int], list[float]] = defaultdict(list)
    for trial in trials:
        if trial.status == "finished" and metric in trial.metrics:
            sums[trial.arm, trial.seed].append(trial.metrics[metric])
    table: dict[str, dict[int, float]] = {}
    for (arm, seed), found in sorted(sums.items()):
        mean = mean_of(found)
        if len(found) == points and math.isfinite(mean):
            table.setdefault(arm, {})[seed] = mean
    return table


def balanced(trials: Iterable[Tried], metric: str) -> list[Tried]:
    """The trials of those seeds that have the metric in every arm at every point."""
    trials = list(trials)
    wanted = len({(trial.arm, trial.point) for trial in trials})
    good = [
        trial
        for trial in trials
        if trial.status == "finished" and math.isfinite(trial.metrics.get(metric, math.nan))
    ]
    counts = Counter(trial.seed for trial in good)
    return [trial for trial in good if counts[trial.seed] == wanted]
