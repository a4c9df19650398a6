"""What drawn points show: which factor matters, and upon which the effect of an arm depends."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from neural_architecture_lab.hypothesis import Prediction
from neural_architecture_lab.insights.insight import Insight, Lead, Variant
from neural_architecture_lab.insights.reading import Tried, balanced
from neural_architecture_lab.outcomes import mean_of
from neural_architecture_lab.reviewing import Review
from neural_architecture_lab.statistics import DrawnEffect, effects_of_drawn


def are_drawn(review: Review) -> bool:
    """Whether the points of a hypothesis were drawn rather than listed as a grid."""
    points = review.frozen.statement["points"]
    if len(points[0]) == 0:
        return False
    levels = math.prod(len({str(point[name]) for point in points}) for name in points[0])
    return levels != len(points)


def drawn_effects(review: Review, trials: Sequence[Tried], metric: str) -> tuple[DrawnEffect, ...]:
    """What each factor explains of a metric over drawn points, means over arms and seeds."""
    if not are_drawn(review):
        return ()
    means = _means(trials, metric)
    arms = sorted({arm for arm, _ in means})
    points = sorted({point for _, point in means})
    if not points:
        return ()
    response = [mean_of([means[arm, point] for arm in arms]) for point in points]
    return effects_of_drawn(_levels(review, points), response)


def drawn(review: Review, trials: Sequence[Tried], metric: str) -> Iterator[Insight]:
    """Factors over drawn points, and what the difference of each arm from the control follows."""
    control = str(review.frozen.statement["control"])
    for one in drawn_effects(review, trials, metric):
        yield _factor(review, one, metric, control)
    if not are_drawn(review):
        return
    means = _means(trials, metric)
    points = sorted({point for _, point in means})
    for arm in sorted({arm for arm, _ in means} - {control}):
        apart = [means[arm, point] - means[control, point] for point in points]
        for one in effects_of_drawn(_levels(review, points), apart):
            yield _interaction(review, one, metric, (control, arm))


def _factor(review: Review, one: DrawnEffect, metric: str, control: str) -> Insight:
    (name,) = one.factors
    return Insight(
        "factor",
        f"{review.frozen.name}: {name} matters for {metric}: share of variance {one.share} over"
        f" drawn points; {_where(one, name)}",
        (review.frozen.id,),
        "levels shuffled over the drawn points",
        one.p_value,
        {"share": one.share.value, "low": one.share.low, "high": one.share.high},
        _ends(metric, name, one, control),
    )


def _ends(metric: str, name: str, one: DrawnEffect, control: str) -> Lead:
    """The control at the level where the fit is highest against that where it is lowest."""
    low, high = f"{name} {_short(one.lowest)}", f"{name} {_short(one.highest)}"
    return Lead(
        (Variant(low, control, {name: one.lowest}), Variant(high, control, {name: one.highest})),
        (Prediction(metric, "higher", arm=high),),
    )


def _interaction(review: Review, one: DrawnEffect, metric: str, arms: tuple[str, str]) -> Insight:
    (name,) = one.factors
    control, arm = arms
    low, high = f"{name} {_short(one.lowest)}", f"{name} {_short(one.highest)}"
    return Insight(
        "interaction",
        f"{review.frozen.name}: how {metric} of {arm} differs from that of {control} depends on"
        f" {name}: share of variance {one.share} over drawn points; {_where(one, name)}",
        (review.frozen.id,),
        "levels shuffled over the drawn points",
        one.p_value,
        {"share": one.share.value, "low": one.share.low, "high": one.share.high},
        Lead(
            (
                Variant(low, control, {name: one.lowest}),
                Variant(high, control, {name: one.highest}),
            ),
            (Prediction(f"effect on {metric}", "higher", arm=high),),
            between=(Variant(control, control), Variant(arm, arm)),
        ),
    )


def _where(one: DrawnEffect, name: str) -> str:
    return f"lowest near {name} {_short(one.lowest)}, highest near {_short(one.highest)}"


def _short(level: Any) -> str:
    return f"{level:.4g}" if type(level) is float else str(level)


def _means(trials: Sequence[Tried], metric: str) -> dict[tuple[str, int], float]:
    """A metric by arm and point, averaged over the seeds that are complete."""
    sums: dict[tuple[str, int], list[float]] = {}
    for row in balanced(trials, metric):
        sums.setdefault((row.arm, row.point), []).append(row.metrics[metric])
    return {key: mean_of(values) for key, values in sums.items()}


def _levels(review: Review, points: Sequence[int]) -> dict[str, list[Any]]:
    known = review.frozen.statement["points"]
    return {name: [known[point][name] for point in points] for name in known[0]}
