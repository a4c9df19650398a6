"""What the factors of one hypothesis show: which matters, interactions, trends, bends.

A factor is given as such, or by arms that differ in nothing but one number.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from neural_architecture_lab.hypothesis import Prediction
from neural_architecture_lab.insights.drawn import are_drawn
from neural_architecture_lab.insights.insight import Insight, Lead, Variant
from neural_architecture_lab.insights.reading import Tried, balanced
from neural_architecture_lab.outcomes import mean_of
from neural_architecture_lab.reviewing import Review
from neural_architecture_lab.statistics import FactorEffect, bend, dose_response, repeated_effects

WIDE: Final = 8.0
"""Positive levels that span this much are taken as logarithms."""

ARM: Final = "arm"


def shares(trials: Sequence[Tried], metric: str) -> tuple[FactorEffect, ...]:
    """What each factor explains of a metric, the arms among them, and what pairs of them do.

    By an analysis of variance of repeated measures, the seeds' disagreement being the error; empty
    where there is no factor, fewer than three seeds are complete, or points were drawn.
    """
    rows = balanced(trials, metric)
    names = list(rows[0].factors) if rows else []
    if not names:
        return ()
    levels = {name: [_level(row.factors[name]) for row in rows] for name in names}
    if len({row.arm for row in rows}) > 1:
        levels[ARM] = [row.arm for row in rows]
    response = [row.metrics[metric] for row in rows]
    try:
        return repeated_effects(levels, [row.seed for row in rows], response)
    except ValueError:  # drawn points are no grid
        return ()


def effects(review: Review, trials: Sequence[Tried], metric: str) -> Iterator[Insight]:
    """Which factor matters, the arms among them, and which depend on each other: see `shares`."""
    rows = balanced(trials, metric)
    control = str(review.frozen.statement["control"])
    for one in shares(trials, metric):
        between = " and ".join(one.factors)
        alone = len(one.factors) == 1
        said = f"{between} matters" if alone else f"the effects of {between} depend on each other"
        made = _single if alone else _crossed
        yield Insight(
            "factor" if alone else "interaction",
            f"{review.frozen.name}: {said} for {metric}: share of variance {one.share},"
            f" F({one.freedom[0]:.3g}, {one.freedom[1]:.3g}) = {one.f:.3g}",
            (review.frozen.id,),
            "analysis of variance of repeated measures",
            one.p_value,
            {"share": one.share.value, "low": one.share.low, "high": one.share.high, "F": one.f},
            made(rows, metric, one.factors, control),
        )


def doses(review: Review, trials: Sequence[Tried], metric: str) -> Iterator[Insight]:
    """How a metric follows each numeric factor, and where its line bends."""
    control = str(review.frozen.statement["control"])
    for dosed in _dosed(review, trials, metric):
        levels, scores, name = dosed.levels, dosed.scores, dosed.name
        wide = levels.min() > 0 and levels.max() / levels.min() >= WIDE
        x, unit = (np.log2(levels), "doubling") if wide else (levels, "unit")
        trend = dose_response(x, scores)
        rises = trend.slope.value > 0
        ends = (0, -1) if rises else (-1, 0)
        yield Insight(
            "trend",
            f"{review.frozen.name}: {metric} {'rises' if rises else 'falls'} with {name}:"
            f" {trend.slope} for each {unit} from {levels[0]:g} to {levels[-1]:g},"
            f" {len(scores)} seeds",
            (review.frozen.id,),
            "t test of the seeds' slopes",
            trend.significance.p_value,
            {"slope": trend.slope.value, "low": trend.slope.low, "high": trend.slope.high},
            dosed.lead(metric, control, *ends),
        )
        if len(levels) < 4:
            continue
        found = bend(x, scores)
        at = int(np.argmin(np.abs(x - found.level)))
        yield Insight(
            "bend",
            f"{review.frozen.name}: the line of {metric} along {name} bends at {levels[at]:g}: its"
            f" slope changes by {found.change:.4g} for each {unit}, {len(scores)} seeds",
            (review.frozen.id,),
            "maximum of t statistics over all levels, signs drawn at random",
            found.p_value,
            {"level": float(levels[at]), "change": found.change},
            dosed.around(metric, control, at),
        )


def numbers_in(settings: Mapping[str, Any], within: str = "") -> dict[str, float]:
    """All numbers of nested settings, by their path; of a list its length and its sum.

    Whole numbers that are too large for a float are left out.
    """
    found: dict[str, float] = {}
    for key, value in settings.items():
        name = f"{within}{key}"
        if isinstance(value, Mapping):
            found |= numbers_in(value, f"{name}.")
        elif isinstance(value, bool):
            continue
        elif isinstance(value, int | float):
            found |= {name: float(value)} if _fits(value) else {}
        elif isinstance(value, list | tuple) and all(type(x) in (int, float) for x in value):
            found[f"length of {name}"] = float(len(value))
            if _fits(total := sum(value)):
                found[f"sum of {name}"] = float(total)
    return found


def _fits(number: float) -> bool:
    return abs(number) <= sys.float_info.max


@dataclass(frozen=True, slots=True)
class _Dosed:
    """A numeric factor with the seeds' means along it.

    Args:
        name: The factor.
        given: Its levels as they were given, ascending.
        scores: Shape ``(seeds, levels)``.
    """

    name: str
    given: tuple[int | float, ...]
    scores: NDArray[np.float64]

    @property
    def levels(self) -> NDArray[np.float64]:
        """The levels as numbers."""
        return np.array(self.given, dtype=np.float64)

    def variant(self, control: str, place: int) -> Variant:
        """The control at one of the levels."""
        level = self.given[place]
        return Variant(f"{self.name} {level:g}", control, {self.name: level})

    def lead(self, metric: str, control: str, worse: int, better: int) -> Lead:
        """One level against another."""
        low, high = (self.variant(control, place) for place in (worse, better))
        return Lead((low, high), (Prediction(metric, "higher", arm=high.name),))

    def around(self, metric: str, control: str, at: int) -> Lead:
        """The bend against its neighbours on both sides.

        The side along which the metric changes more is predicted to differ; the other one too, if
        it goes at least half as far, and to stay within half of that change if not.
        """
        here = self.variant(control, at)
        means = [mean_of(column) for column in self.scores.T.tolist()]
        sides = sorted((at - 1, at + 1), key=lambda place: -abs(means[place] - means[at]))
        most = abs(float(means[sides[0]] - means[at]))
        said = []
        for place in sides:
            apart = float(means[place] - means[at])
            way: Literal["higher", "lower"] = "higher" if apart > 0 else "lower"
            name = self.variant(control, place).name
            if abs(apart) >= most / 2 or most == 0:
                said.append(Prediction(metric, way, arm=name))
            else:
                said.append(Prediction(metric, "same", most / 2, arm=name))
        beside = (self.variant(control, place) for place in (at - 1, at + 1))
        return Lead((here, *beside), tuple(said))


def _dosed(review: Review, trials: Sequence[Tried], metric: str) -> Iterator[_Dosed]:
    """Each numeric factor of a grid with the seeds' means at its levels."""
    rows = balanced(trials, metric)
    points = review.frozen.statement["points"]
    for name in points[0]:
        levels = [row.factors.get(name) for row in rows]
        if all(type(one) in (int, float) for one in levels) and not (
            are_drawn(review) and len(points[0]) > 1  # another factor changes along with this one
        ):
            yield from _table(name, levels, rows, metric)
    name = _of_arms(review.frozen.statement["arms"])
    if name is not None and len(points) == 1 and not points[0]:
        arms = review.frozen.statement["arms"]
        yield from _table(name, [arms[row.arm][name] for row in rows], rows, metric)


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
    name: str, levels: Sequence[Any], rows: Sequence[Tried], metric: str
) -> Iterator[_Dosed]:
    known, seeds = sorted(set(levels)), sorted({row.seed for row in rows})
    if len(known) < 3 or len(seeds) < 3:
        return
    cells: dict[tuple[int, Any], list[float]] = defaultdict(list)
    for level, row in zip(levels, rows, strict=True):
        cells[row.seed, level].append(row.metrics[metric])
    means = np.array([[mean_of(cells[seed, level]) for level in known] for seed in seeds])
    yield _Dosed(name, tuple(known), means)


def _single(rows: Sequence[Tried], metric: str, names: tuple[str, ...], control: str) -> Lead:
    """The level of a factor that reaches most against the one that reaches least."""
    means = _cells(rows, metric, names)
    low, high = (_variant(names, key, control, rows) for key in _extremes(means))
    return Lead((low, high), (Prediction(metric, "higher", arm=high.name),))


def _crossed(rows: Sequence[Tried], metric: str, names: tuple[str, ...], control: str) -> Lead:
    """Where the effect of one factor depends most on another: two levels of each.

    The effect of going between two levels of the one is measured within each trial, and predicted
    to be higher at one level of the other. Arms are gone between, rather than put beside factors.
    """
    outer, inner = (names[1], names[0]) if names[0] == ARM else names
    means = _cells(rows, metric, (outer, inner))
    outers, inners = (list(dict.fromkeys(key[place] for key in means)) for place in (0, 1))
    found = []
    for (a, b), (c, d) in (
        (x, y) for x in combinations(outers, 2) for y in combinations(inners, 2)
    ):
        by = (means[b, d] - means[b, c]) - (means[a, d] - means[a, c])
        found.append((abs(by), (a, b) if by > 0 else (b, a), (c, d)))
    _, (low, high), (first, second) = max(found, key=lambda one: one[0])
    variants = tuple(_variant((outer,), (level,), control, rows) for level in (low, high))
    between = tuple(_variant((inner,), (level,), control, rows) for level in (first, second))
    said = Prediction(f"effect on {metric}", "higher", arm=variants[1].name)
    return Lead(variants, (said,), between=(between[0], between[1]))


def _cells(
    rows: Sequence[Tried], metric: str, names: tuple[str, ...]
) -> dict[tuple[str, ...], float]:
    """The mean of a metric at each combination of levels of some factors."""
    sums: dict[tuple[str, ...], list[float]] = {}
    for row in rows:
        key = tuple(row.arm if name == ARM else _level(row.factors[name]) for name in names)
        sums.setdefault(key, []).append(row.metrics[metric])
    return {key: mean_of(values) for key, values in sums.items()}


def _extremes(means: Mapping[tuple[str, ...], float]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    ordered = sorted(means, key=lambda key: means[key])
    return ordered[0], ordered[-1]


def _variant(
    names: tuple[str, ...], key: tuple[str, ...], control: str, rows: Sequence[Tried]
) -> Variant:
    """An arm by itself, or the control at a level of a factor."""
    (name,), (level,) = names, key
    if name == ARM and name not in rows[0].factors:
        return Variant(level, level)
    return Variant(f"{name} {level}", control, {name: json.loads(level)})


def _level(level: Any) -> str:
    return json.dumps(level, sort_keys=True)
