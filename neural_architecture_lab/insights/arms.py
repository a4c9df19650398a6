"""What the arms of one hypothesis show: surprises, dominance, sameness, instability over seeds.

Each function tests, and returns a candidate for every test that it made, whatever came out, so that
all of them count where p-values are corrected.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations, permutations
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from neural_architecture_lab.hypothesis import Prediction
from neural_architecture_lab.insights.insight import Insight, Lead, Variant
from neural_architecture_lab.insights.reading import Table
from neural_architecture_lab.judgement import Evidence
from neural_architecture_lab.outcomes import mean_of
from neural_architecture_lab.reviewing import Review
from neural_architecture_lab.statistics import (
    Direction,
    paired_t,
    seeds_for_equivalence,
    seeds_needed,
    tost,
)
from neural_architecture_lab.statistics.samples import scaled, unscaled

Vector = NDArray[np.float64]

LEAST_SEEDS: Final = 5
"""Spreads of fewer seeds are not compared."""

RUNS: Final = 5
"""How many seeds each trial runs whose spread is to be confirmed."""

_MOST_SEEDS: Final = 10_000

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
        other: Literal["higher", "lower"] = "lower" if said.direction == "higher" else "higher"
        wrong = (one.mean.value < 0) == (said.direction == "higher") and one.mean.value != 0
        # A difference the predicted way is no surprise, whatever its p-value.
        p = compared.p_value if wrong else 1.0
        yield Insight(
            "surprise",
            f"{review.frozen.name}: {said.metric} of {compared.arm} was predicted to be"
            f" {said.direction} than that of {compared.versus}, and is {other}: mean difference"
            f" {one.mean}, {len(compared.seeds)} seeds",
            (review.frozen.id,),
            "paired t test",
            p,
            {"difference": one.mean.value, "low": one.mean.low, "high": one.mean.high},
            _again(one, other),
        )


def _again(one: Evidence, other: Literal["higher", "lower"]) -> Lead:
    """The surprise once more, on twice the seeds or more: as many as find half the effect.

    What surprises is larger than it is on average, since it was picked for its size.
    """
    compared, effect = one.comparison, one.effect
    pairs = len(compared.seeds)
    half = abs(effect.value) / 2 if effect is not None else 0.0
    seeds = _seeds(lambda: seeds_needed(half)) if 0 < half < math.inf else None
    return Lead(
        (Variant(compared.versus, compared.versus), Variant(compared.arm, compared.arm)),
        (Prediction(compared.prediction.metric, other, arm=compared.arm, versus=compared.versus),),
        seeds=max(2 * pairs, seeds or 0),
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
            by = [mean_of(side) for side in sides]
            yield Insight(
                "dominance",
                f"{review.frozen.name}: {one} beats {other} in {goal} by {by[0]:.4g} and in {cost}"
                f" by {by[1]:.4g}, {len(sides[0])} seeds",
                (review.frozen.id,),
                "intersection-union of paired t tests",
                p,
                {goal: by[0], cost: by[1]},
                Lead(
                    (Variant(other, other), Variant(one, one)),
                    tuple(_better(metric, one) for metric in (goal, cost)),
                ),
            )


def _better(metric: str, arm: str) -> Prediction:
    return Prediction(metric, "higher" if BETTER[metric] == "max" else "lower", arm=arm)


def equivalence(review: Review, tables: Mapping[str, Table]) -> Iterator[Insight]:
    """Are two arms the same where nobody predicted it? By two one-sided tests.

    The margin is the smallest effect that the predictions name for the metric.
    """
    said = [one.comparison for one in review.evidence]
    margins = {
        metric: min(sizes)
        for metric in dict.fromkeys(one.prediction.metric for one in said)
        if (sizes := [s for one in said if one.prediction.metric == metric
                      if (s := one.prediction.smallest_effect) > 0])
    }  # fmt: skip
    known = {
        (one.prediction.metric, frozenset((one.arm, one.versus)))
        for one in said
        if one.prediction.direction == "same"
    }
    for metric, margin in margins.items():
        table = tables.get(metric, {})
        for other, one in combinations(table, 2):
            shared = sorted(set(table[one]) & set(table[other]))
            if (metric, frozenset((one, other))) in known or len(shared) < LEAST_SEEDS:
                continue
            apart = np.array([table[one][seed] - table[other][seed] for seed in shared])
            if not apart.any():  # they are one thing by another name
                continue
            if not np.isfinite(apart).all():  # too far apart for a float
                continue
            found = tost(apart, margin)
            yield Insight(
                "equivalence",
                f"{review.frozen.name}: {metric} of {one} is within {margin:g} of that of {other}:"
                f" mean difference {found.interval}, {len(shared)} seeds",
                (review.frozen.id,),
                "two one-sided t tests",
                found.p_value,
                {"difference": found.interval.value, "margin": margin},
                _same(metric, (one, other), margin, apart),
            )


def _same(metric: str, arms: tuple[str, str], margin: float, apart: Vector) -> Lead:
    """The sameness once more, on as many seeds as show it going by this spread."""
    x, exponent = scaled(apart, beside=margin)
    reach, mean, deviation = math.ldexp(margin, -exponent), float(x.mean()), float(x.std(ddof=1))
    seeds = _seeds(lambda: seeds_for_equivalence(reach / deviation, mean / deviation))
    one, other = arms
    return Lead(
        (Variant(other, other), Variant(one, one)),
        (Prediction(metric, "same", margin, arm=one),),
        seeds=max(seeds or len(apart), LEAST_SEEDS),
    )


def _seeds(count: Callable[[], int]) -> int | None:
    """A planned number of seeds; None where no reasonable one does."""
    try:
        needed = count()
    except (ValueError, ZeroDivisionError):  # more than a million, or nothing varies
        return None
    return needed if needed <= _MOST_SEEDS else None


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
            values = np.array([[table[arm][seed] for seed in shared] for arm in (one, other)])
            pair, exponent = scaled(values)
            if not np.ptp(pair, axis=1).any():
                continue
            away = np.abs(pair - np.median(pair, axis=1, keepdims=True))
            found = paired_t(away[0] - away[1])
            wide, narrow = (0, 1) if away[0].mean() >= away[1].mean() else (1, 0)
            names = (one, other)
            spread = [unscaled(float(mean), exponent) for mean in away.mean(1)]
            yield Insight(
                "instability",
                f"{review.frozen.name}: {metric} spreads more over the seeds in {names[wide]} than"
                f" in {names[narrow]}: mean distance from the median {spread[wide]:.4g} against"
                f" {spread[narrow]:.4g}, {len(shared)} seeds",
                (review.frozen.id,),
                "paired Brown-Forsythe test",
                found.p_value,
                {names[wide]: spread[wide], names[narrow]: spread[narrow]},
                Lead(
                    (Variant(names[narrow], names[narrow]), Variant(names[wide], names[wide])),
                    (Prediction(f"spread of {metric}", "higher", arm=names[wide]),),
                    spread=RUNS,
                ),
            )


def _advantage(table: Table, one: str, other: str, metric: str) -> list[float]:
    sign = 1.0 if BETTER[metric] == "max" else -1.0
    shared = sorted(set(table[one]) & set(table[other]))
    apart = [sign * (table[one][seed] - table[other][seed]) for seed in shared]
    return [one for one in apart if math.isfinite(one)]
