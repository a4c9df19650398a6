"""Where a hypothesis trades one thing for another: its arms, and which of them nothing beats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neural_architecture_lab.insights.arms import BETTER, COSTS, GOALS
from neural_architecture_lab.outcomes import mean_of
from neural_architecture_lab.report.gathering import Section
from neural_architecture_lab.statistics import (
    Interval,
    front_probability,
    mean_interval,
    pareto_front,
)


@dataclass(frozen=True, slots=True)
class Front:
    """Arms by what they reach and what they cost.

    Args:
        cost: The metric of the x axis.
        goal: The metric of the y axis.
        arms: The names of the arms.
        costs: Their mean costs, with intervals.
        goals: What they reach on average, with intervals.
        best: Which of them nothing beats in both.
        sure: How often each is on the front where the seeds are drawn anew, in [0, 1].
        seeds: How many seeds all arms have.
    """

    cost: str
    goal: str
    arms: tuple[str, ...]
    costs: tuple[Interval, ...]
    goals: tuple[Interval, ...]
    best: tuple[bool, ...]
    sure: tuple[float, ...]
    seeds: int


def front_of(section: Section) -> Front | None:
    """The front of accuracy, or else loss, against the first cost in which arms differ.

    None where no such pair was measured, or fewer than two seeds have it for two arms or more.
    """
    goal = next((name for name in GOALS if name in section.metrics), None)
    if goal is None:
        return None
    for cost in COSTS:
        if cost not in section.metrics:
            continue
        found = _front(section, cost, goal)
        if found is not None and len({one.value for one in found.costs}) > 1:
            return found
    return None


def _front(section: Section, cost: str, goal: str) -> Front | None:
    tables = (section.values(cost), section.values(goal))
    arms = tuple(arm for arm in section.arms if all(table.get(arm) for table in tables))
    if len(arms) < 2:
        return None
    shared = set.intersection(*(set(table[arm]) for table in tables for arm in arms))
    if len(shared) < 2:
        return None
    cube = np.array(
        [[[table[arm][seed] for table in tables] for arm in arms] for seed in sorted(shared)]
    )
    ways = (BETTER[cost], BETTER[goal])
    means = [[mean_of(seeds) for seeds in of_arm] for of_arm in cube.transpose(1, 2, 0).tolist()]
    return Front(
        cost,
        goal,
        arms,
        tuple(mean_interval(cube[:, place, 0]) for place in range(len(arms))),
        tuple(mean_interval(cube[:, place, 1]) for place in range(len(arms))),
        tuple(bool(one) for one in pareto_front(means, ways)),
        tuple(float(one) for one in front_probability(cube, ways)),
        len(shared),
    )
