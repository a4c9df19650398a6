"""What the arms of one hypothesis show: surprises, dominance, instability across seeds.

Each function tests, and returns a candidate for every test that it made, whatever came out, so that
all of them count where p-values are corrected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, permutations
from typing import Final

import numpy as np

from neural_architecture_lab.insights.insight import Insight, Lead
from neural_architecture_lab.insights.reading import Table
from neural_architecture_lab.reviewing import Review
from neural_architecture_lab.statistics import Direction, paired_t

LEAST_SEEDS: Final = 5
"""Spreads of fewer seeds are not compared."""

BETTER: Final[Mapping[str, Direction]] = {
    "accuracy": "max",
    "loss": "min",
    "parameters": "min",
    "connections": "min",
    "flops": "min",
    "seconds": "min",
}
"""Which way is better, of the metrics whose name says so."""

GOALS: Final = ("accuracy", "loss")
COSTS: Final = ("parameters", "connections", "flops", "seconds")


def surprises(review: Review) -> Iterator[Insight]:
    """Predictions of a direction: did it go the other way? By the test that judged them."""
    for one in review.evidence:
        said, compared = one.comparison.prediction, one.comparison
        if said.direction == "same" or one.mean is None:
            continue
        other = "lower" if said.direction == "higher" else "higher"
        wrong = (one.mean.value < 0) == (said.direction == "higher") and one.mean.value != 0
        # A difference the predicted way is no surprise, whatever its p-value.
        p = compared.p_value if wrong else 1.0
        arms = (compared.arm, compared.versus)
        yield Insight(
            "surprise",
            f"{review.frozen.name}: {said.metric} of {compared.arm} was predicted to be"
            f" {said.direction} than that of {compared.versus}, and is {other}: mean difference"
            f" {one.mean}, {len(compared.seeds)} seeds",
            (review.frozen.id,),
            "paired t test",
            p,
            {"difference": one.mean.value, "low": one.mean.low, "high": one.mean.high},
            Lead(said.metric, {}, {}, arms if other == "higher" else arms[::-1]),
        )


def dominance(review: Review, tables: Mapping[str, Table]) -> Iterator[Insight]:
    """Is an arm better than another in what it reaches and in what it costs, both?

    The p-value is the larger of the two one-sided ones (an intersection-union test).
    """
    goal = next((name for name in GOALS if tables.get(name)), None)
    for cost in COSTS:
        if goal is None or not tables.get(cost):
            continue
        arms = sorted(set(tables[goal]) & set(tables[cost]))
        for one, other in permutations(arms, 2):
            sides = [_advantage(tables[metric], one, other, metric) for metric in (goal, cost)]
            if min(len(side) for side in sides) < 2:
                continue
            p = max(paired_t(side, alternative="greater").p_value for side in sides)
            by = [float(np.mean(side)) for side in sides]
            yield Insight(
                "dominance",
                f"{review.frozen.name}: {one} beats {other} in {goal} by {by[0]:.4g} and in {cost}"
                f" by {by[1]:.4g}, {len(sides[0])} seeds",
                (review.frozen.id,),
                "intersection-union of paired t tests",
                p,
                {goal: by[0], cost: by[1]},
                Lead(goal, {}, {}, (one, other) if BETTER[goal] == "max" else (other, one)),
            )


def instability(review: Review, tables: Mapping[str, Table]) -> Iterator[Insight]:
    """Do the seeds spread more in one arm than in another?

    A paired Brown-Forsythe test: the paired t test of the distances from each arm's median.

    References:
        Brown and Forsythe, "Robust tests for the equality of variances", JASA 1974.
    """
    for metric, table in tables.items():
        for one, other in combinations(table, 2):
            shared = sorted(set(table[one]) & set(table[other]))
            if len(shared) < LEAST_SEEDS:
                continue
            pair = np.array([[table[arm][seed] for seed in shared] for arm in (one, other)])
            if not pair.std(1).any():
                continue
            away = np.abs(pair - np.median(pair, axis=1, keepdims=True))
            found = paired_t(away[0] - away[1])
            wide, narrow = (0, 1) if away[0].mean() >= away[1].mean() else (1, 0)
            names, spread = (one, other), away.mean(1)
            yield Insight(
                "instability",
                f"{review.frozen.name}: {metric} spreads more over the seeds in {names[wide]} than"
                f" in {names[narrow]}: mean distance from the median {spread[wide]:.4g} against"
                f" {spread[narrow]:.4g}, {len(shared)} seeds",
                (review.frozen.id,),
                "paired Brown-Forsythe test",
                found.p_value,
                {names[wide]: float(spread[wide]), names[narrow]: float(spread[narrow])},
            )


def _advantage(table: Table, one: str, other: str, metric: str) -> list[float]:
    sign = 1.0 if BETTER[metric] == "max" else -1.0
    shared = sorted(set(table[one]) & set(table[other]))
    return [sign * (table[one][seed] - table[other][seed]) for seed in shared]
