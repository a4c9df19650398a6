"""What a report says of factors: how much each explains, and the outcome along each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from neural_architecture_lab.insights.drawn import drawn_effects
from neural_architecture_lab.insights.factors import shares
from neural_architecture_lab.insights.reading import Tried, balanced
from neural_architecture_lab.outcomes import mean_of
from neural_architecture_lab.report.blocks import Block, Grid, Heading, Paragraph, Picture
from neural_architecture_lab.report.gathering import Section
from neural_architecture_lab.report.pictures import Unit, colours, panels, svg
from neural_architecture_lab.report.wording import interval
from neural_architecture_lab.statistics import DrawnEffect, FactorEffect, mean_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_TICKS: Final = 7
MOST_METRICS: Final = 2
"""Metrics of which factors are shown: the first that are predicted."""


@dataclass(frozen=True, slots=True)
class Along:
    """An outcome along one factor.

    Args:
        metric: The outcome.
        factor: The factor.
        levels: Its levels, ascending where they are numbers.
        drawn: Whether each point has a level of its own, which no other has.
        arms: For each arm the outcomes at each level: the means of the seeds over other factors.
    """

    metric: str
    factor: str
    levels: tuple[Any, ...]
    drawn: bool
    arms: dict[str, tuple[tuple[float, ...], ...]]


def factors(section: Section) -> list[Block]:
    """The factors of a hypothesis; nothing where it has none."""
    along = outcomes(section)
    if not along:
        return []
    name = section.review.frozen.id
    blocks: list[Block] = [Heading(3, "Factors")]
    for metric in dict.fromkeys(one.metric for one in along):
        blocks += _shares(section, metric)
    says = "Each factor's levels in each arm: means over the other factors, 95 % intervals by seed."
    if along[0].drawn:
        says = "Every drawn point in each arm, the mean over the seeds; other factors change too."
    return [*blocks, Picture(f"{name}-factors", says, partial(along_svg, along))]


def outcomes(section: Section) -> tuple[Along, ...]:
    """The predicted metrics along each factor, of the seeds that are complete."""
    statement = section.review.frozen.statement
    points = statement["points"]
    predicted = dict.fromkeys(str(said["metric"]) for said in statement["predictions"])
    found = []
    for metric in list(predicted)[:MOST_METRICS]:
        rows = balanced(section.tried, metric)
        found += [_along(section, rows, metric, name) for name in points[0] if rows]
    return tuple(found)


def along_svg(along: Sequence[Along]) -> str:
    """Outcomes along factors: lines of means with intervals, or the drawn points."""
    from structure_net.visualization.canvas import frame, key, legible, name_columns

    figure, axes = panels(len(along), 2, 2.7)
    for place, (ax, one) in enumerate(zip(axes, along, strict=True)):
        places, wide = _places(one.levels)
        unit = Unit.of(value for seeds in one.arms.values() for of in seeds for value in of)
        for arm, colour in zip(one.arms, colours(list(one.arms)), strict=True):
            drawn = [[*map(unit, seeds)] for seeds in one.arms[arm]]
            means = [mean_interval(seeds) if len(seeds) > 1 else None for seeds in drawn]
            values = [mean_of(seeds) for seeds in drawn]
            look = {"fmt": "o", "ms": 4} if one.drawn else {"fmt": "o-", "ms": 4, "elinewidth": 1}
            off = [
                [0.0 if m is None else m.value - m.low for m in means],
                [0.0 if m is None else m.high - m.value for m in means],
            ]
            errors = None if one.drawn else off
            ax.errorbar(places, values, yerr=errors, color=colour, label=legible(arm), **look)
        if wide:
            _widen(ax, one)
        frame(ax, x=one.factor, y=unit.name(one.metric), grid="y")
        if not _numeric(one.levels):
            name_columns(ax, [str(level) for level in one.levels])
            ax.set_xlim(-0.5, len(one.levels) - 0.5)
        if place == 0:
            key(ax, columns=3)
    return svg(figure)


def shares_svg(found: Sequence[FactorEffect] | Sequence[DrawnEffect]) -> str:
    """How much each effect explains, the largest first, with intervals."""
    from structure_net.visualization.canvas import BLUE, frame, legible

    figure, (ax,) = panels(1, 1, 0.7 + 0.28 * len(found))
    rows = range(len(found))
    ax.errorbar(
        [one.share.value for one in found],
        list(rows),
        xerr=[
            [one.share.value - one.share.low for one in found],
            [one.share.high - one.share.value for one in found],
        ],
        fmt="o",
        color=BLUE,
        ms=5,
        elinewidth=1.5,
        capsize=3,
    )
    ax.set_yticks(list(rows), [legible(" × ".join(one.factors)) for one in found])
    ax.set_ylim(len(found) - 0.5, -0.5)
    ax.set_xlim(0, 1)
    frame(ax, x="share explained (partial eta squared)", grid="x")
    return svg(figure)


def _shares(section: Section, metric: str) -> list[Block]:
    found: Sequence[FactorEffect] | Sequence[DrawnEffect]
    found = shares(section.tried, metric)
    how = "Analysis of variance, held against what the seeds disagree about"
    if not found:
        found = drawn_effects(section.review, section.tried, metric)
        how = "Levels of one factor shuffled over the drawn points, the others held"
    if not found:
        return []
    rows = tuple(
        (" × ".join(one.factors), interval(one.share), f"{one.p_value:.2g}") for one in found
    )
    said = f"{how}; p-values are not corrected here. Where there are several tests, see Insights."
    name = f"{section.review.frozen.id}-shares-{metric}"
    says = f"What each factor explains of {metric}, and two together beyond each alone."
    return [
        Paragraph(said, f"What {metric} depends on."),
        Grid(("effect", "share explained", "p"), rows),
        Picture(name, says, partial(shares_svg, found)),
    ]


def _along(section: Section, rows: Sequence[Tried], metric: str, name: str) -> Along:
    points = section.review.frozen.statement["points"]
    levels = list({str(point[name]): point[name] for point in points}.values())
    if _numeric(levels):
        levels.sort()
    table: dict[str, tuple[tuple[float, ...], ...]] = {}
    for arm in section.arms:
        seeds: dict[str, dict[int, list[float]]] = {str(level): {} for level in levels}
        for row in rows:
            if row.arm == arm:
                of_level = seeds[str(row.factors[name])]
                of_level.setdefault(row.seed, []).append(row.metrics[metric])
        table[arm] = tuple(
            tuple(mean_of(of) for of in seeds[str(level)].values()) for level in levels
        )
    return Along(metric, name, tuple(levels), len(levels) == len(points) > 8, table)


def _places(levels: Sequence[Any]) -> tuple[list[float], bool]:
    """Where levels stand on the axis, and whether it is a logarithmic one."""
    if not _numeric(levels):
        return [float(place) for place in range(len(levels))], False
    wide = min(levels) > 0 and max(levels) / min(levels) >= 8
    return [float(level) for level in levels], wide


def _widen(ax: Axes, one: Along) -> None:
    """A logarithmic axis whose ticks are the levels, where these are few."""
    from matplotlib.ticker import NullFormatter, NullLocator

    ax.set_xscale("log")
    if len(one.levels) <= _MOST_TICKS:
        ax.set_xticks([float(level) for level in one.levels], [f"{x:g}" for x in one.levels])
        ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())


def _numeric(levels: Sequence[Any]) -> bool:
    return all(type(level) in (int, float) for level in levels)
