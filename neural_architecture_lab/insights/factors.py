"""What the factors of one hypothesis show: which matters, interactions, trends, bends.

A factor is given as such, or by arms that differ in nothing but one number.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from neural_architecture_lab.insights.insight import Insight, Lead
from neural_architecture_lab.insights.reading import Tried
from neural_architecture_lab.reviewing import Review
from neural_architecture_lab.statistics import bend, dose_response, factor_effects

WIDE: Final = 8.0
"""Positive levels that span this much are taken as logarithms."""


def effects(review: Review, trials: Sequence[Tried], metric: str) -> Iterator[Insight]:
    """Which factor matters, the arms among them, and which depend on each other.

    By an analysis of variance with the seeds as blocks. Layouts that do not tell the effects apart
    are passed over.
    """
    rows = _balanced(trials, metric)
    names = list(rows[0].factors) if rows else []
    if not names:
        return
    levels = {name: [_level(row.factors[name]) for row in rows] for name in names}
    if len({row.arm for row in rows}) > 1:
        levels["arm"] = [row.arm for row in rows]
    response = [row.metrics[metric] for row in rows]
    try:
        found = factor_effects(levels, [row.seed for row in rows], response)
    except ValueError:  # drawn points: every level is there once
        return
    for one in found:
        between = " and ".join(one.factors)
        said = f"{between} matters" if len(one.factors) == 1 else f"the effects of {between} depend"
        more = "" if len(one.factors) == 1 else " on each other"
        yield Insight(
            "factor" if len(one.factors) == 1 else "interaction",
            f"{review.frozen.name}: {said}{more} for {metric}: share of variance {one.share},"
            f" F({one.freedom[0]}, {one.freedom[1]}) = {one.f:.3g}",
            (review.frozen.id,),
            "analysis of variance, seeds as blocks",
            one.p_value,
            {"share": one.share.value, "low": one.share.low, "high": one.share.high, "F": one.f},
        )


def doses(review: Review, trials: Sequence[Tried], metric: str) -> Iterator[Insight]:
    """How a metric follows each numeric factor, and where its line bends."""
    control = str(review.frozen.statement["control"])
    for name, table in _dosed(review, trials, metric):
        levels, scores = table
        wide = levels.min() > 0 and levels.max() / levels.min() >= WIDE
        x, unit = (np.log2(levels), "doubling") if wide else (levels, "unit")
        trend = dose_response(x, scores)
        rises = trend.slope.value > 0
        way = "rises" if rises else "falls"
        most, least = (float(x) for x in (levels.max(), levels.min()))
        yield Insight(
            "trend",
            f"{review.frozen.name}: {metric} {way} with {name}: {trend.slope}"
            f" for each {unit} from {least:g} to {most:g}, {len(scores)} seeds",
            (review.frozen.id,),
            "t test of the seeds' slopes",
            trend.significance.p_value,
            {"slope": trend.slope.value, "low": trend.slope.low, "high": trend.slope.high},
            Lead(
                metric,
                {name: most if rises else least},
                {name: least if rises else most},
                (control, control),
            ),
        )
        if len(levels) < 4:
            continue
        found = bend(x, scores)
        at = 2**found.level if wide else found.level
        yield Insight(
            "bend",
            f"{review.frozen.name}: the line of {metric} along {name} bends at {at:g}: its slope"
            f" changes by {found.change:.4g} for each {unit}, {len(scores)} seeds",
            (review.frozen.id,),
            "maximum of t statistics over all levels, signs drawn at random",
            found.p_value,
            {"level": float(at), "change": found.change},
        )


def numbers_in(settings: Mapping[str, Any], within: str = "") -> dict[str, float]:
    """All numbers of nested settings, by their path; of a list its length and its sum."""
    found: dict[str, float] = {}
    for key, value in settings.items():
        name = f"{within}{key}"
        if isinstance(value, Mapping):
            found |= numbers_in(value, f"{name}.")
        elif isinstance(value, bool):
            continue
        elif isinstance(value, int | float):
            found[name] = float(value)
        elif isinstance(value, list | tuple) and all(type(x) in (int, float) for x in value):
            found[f"length of {name}"] = float(len(value))
            found[f"sum of {name}"] = float(math.fsum(value))
    return found


def _dosed(
    review: Review, trials: Sequence[Tried], metric: str
) -> Iterator[tuple[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]]:
    """Each numeric factor with its levels and the seeds' means at them: ``(seeds, levels)``."""
    rows = _balanced(trials, metric)
    points = review.frozen.statement["points"]
    for name in points[0]:
        levels = [row.factors.get(name) for row in rows]
        if not all(type(one) in (int, float) for one in levels):
            continue
        if (
            len({json.dumps(point, sort_keys=True) for point in points})
            == len({point[name] for point in points})
            and len(points[0]) > 1
        ):
            continue  # drawn points: another factor changes along with this one
        yield from _table(name, [float(str(one)) for one in levels], rows, metric)
    name = _of_arms(review.frozen.statement["arms"])
    if name is not None and len(points) == 1 and not points[0]:
        arms = review.frozen.statement["arms"]
        yield from _table(name, [float(arms[row.arm][name]) for row in rows], rows, metric)


def _of_arms(arms: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The one setting in which arms differ, where it is a number in all of them."""
    names = {name for settings in arms.values() for name in settings}
    differ = [
        name
        for name in names
        if len({json.dumps(one.get(name), sort_keys=True) for one in arms.values()}) > 1
    ]
    if len(differ) != 1:
        return None
    values = [one.get(differ[0]) for one in arms.values()]
    return differ[0] if all(type(one) in (int, float) for one in values) else None


def _table(
    name: str, levels: Sequence[float], rows: Sequence[Tried], metric: str
) -> Iterator[tuple[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]]:
    known, seeds = sorted(set(levels)), sorted({row.seed for row in rows})
    if len(known) < 3 or len(seeds) < 3:
        return
    sums = np.zeros((len(seeds), len(known)))
    counts = np.zeros_like(sums)
    for level, row in zip(levels, rows, strict=True):
        at = (seeds.index(row.seed), known.index(level))
        sums[at] += row.metrics[metric]
        counts[at] += 1
    yield name, (np.array(known), sums / counts)


def _balanced(trials: Sequence[Tried], metric: str) -> list[Tried]:
    """The trials of those seeds that have the metric in every arm at every point."""
    wanted = len({(trial.arm, trial.point) for trial in trials})
    good = [
        trial
        for trial in trials
        if trial.status == "finished" and math.isfinite(trial.metrics.get(metric, math.nan))
    ]
    counts: dict[int, int] = {}
    for trial in good:
        counts[trial.seed] = counts.get(trial.seed, 0) + 1
    return [trial for trial in good if counts[trial.seed] == wanted]


def _level(level: Any) -> Any:
    return json.dumps(level, sort_keys=True)
