"""The pictures of a report, as SVG: effects, seeds, learning curves, the front, growth.

Each is a plain function of a `Section` that returns a text, the same one for the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any, Final, Self

from neural_architecture_lab.insights.arms import BETTER
from neural_architecture_lab.judgement import Evidence
from neural_architecture_lab.report.fronts import Front
from neural_architecture_lab.report.gathering import Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS: Final = 8
"""Further predictions, metrics and curves are left to the tables."""

_WIDTH: Final = 7.2
_PLAIN: Final = 100
"""Powers of ten between whose negative and itself axes are drawn as they are."""
_MARKS: Final = "osD^vPX*"


@dataclass(frozen=True, slots=True)
class Unit:
    """A power of ten that numbers are drawn in, where no picture could hold them as they are.

    Args:
        exponent: The power; 0 for numbers of ordinary size.
    """

    exponent: int = 0

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """The unit in which the largest of ``values`` is ordinary."""
        largest = max((abs(one) for one in values if math.isfinite(one)), default=0.0)
        exponent = math.floor(math.log10(largest)) if largest else 0
        return cls(exponent if abs(exponent) > _PLAIN else 0)

    def __call__(self, value: float) -> float:
        """``value`` in this unit; not a number where it is infinite."""
        if not math.isfinite(value):
            return math.nan
        half = -self.exponent // 2
        return value * 10.0**half * 10.0 ** (-self.exponent - half)

    def name(self, words: str) -> str:
        """What an axis in this unit is called."""
        return f"{words} (in 1e{self.exponent:+d})" if self.exponent else words


def effects_svg(section: Section) -> str:
    """Each prediction's mean difference with its interval, and what counts as none in grey."""
    judged = [one for one in section.review.evidence if one.mean is not None][:MOST_PANELS]
    figure, axes = panels(len(judged), 1, 0.95)
    for ax, evidence in zip(axes, judged, strict=True):
        _effect(ax, evidence)
    return svg(figure)


def seeds_svg(section: Section) -> str:
    """Every seed's value in each arm, joined by a line, and the means."""
    from structure_net.visualization.canvas import FAINT, VERMILLION, frame, name_columns

    metrics = compared(section)
    figure, axes = panels(len(metrics), 2, 2.5)
    for ax, metric in zip(axes, metrics, strict=True):
        table = section.values(metric)
        arms = [arm for arm in section.arms if table.get(arm)]
        unit = Unit.of(value for arm in arms for value in table[arm].values())
        table = {arm: {s: unit(value) for s, value in table[arm].items()} for arm in arms}
        for seed in sorted({seed for arm in arms for seed in table[arm]}):
            at = [(place, table[arm][seed]) for place, arm in enumerate(arms) if seed in table[arm]]
            ax.plot(*zip(*at, strict=True), color=FAINT, lw=0.7, marker="o", ms=3, zorder=1)
        means = [sum(table[arm].values()) / len(table[arm]) for arm in arms]
        ax.plot(range(len(arms)), means, "_", color=VERMILLION, ms=22, mew=2.2, zorder=2)
        ax.set_xlim(-0.5, len(arms) - 0.5)
        frame(ax, y=unit.name(metric), grid="y")
        name_columns(ax, arms)
    return svg(figure)


def curves_svg(section: Section) -> str:
    """Learning curves: the mean of each arm's first seeds, and each seed faintly."""
    from structure_net.visualization.canvas import frame, key

    names = curve_names(section)
    figure, axes = panels(len(names), 2, 2.5)
    for place, (ax, name) in enumerate(zip(axes, names, strict=True)):
        drawn = [one for one in section.shown if name in one.curves]
        unit = Unit.of(value for one in drawn for value in one.curves[name])
        for arm, colour in zip(section.arms, colours(section.arms), strict=True):
            of_arm = [[*map(unit, one.curves[name])] for one in drawn if one.arm == arm]
            _curves(ax, of_arm, colour, arm)
        frame(ax, x="epoch", y=unit.name(name), grid="y")
        if place == 0:
            key(ax, columns=3)
    return svg(figure)


def front_svg(front: Front) -> str:
    """What the arms reach against what they cost; those that nothing beats are filled."""
    from structure_net.visualization.canvas import FAINT, frame, key

    figure, (ax,) = panels(1, 1, 3.4)
    units = [Unit.of(one.value for one in side) for side in (front.costs, front.goals)]
    costs, goals = (
        [tuple(map(unit, (one.value, one.low, one.high))) for one in side]
        for unit, side in zip(units, (front.costs, front.goals), strict=True)
    )
    for place, (arm, colour) in enumerate(zip(front.arms, colours(front.arms), strict=True)):
        best = front.best[place]
        ax.errorbar(
            costs[place][0],
            goals[place][0],
            xerr=_reach(*costs[place]),
            yerr=_reach(*goals[place]),
            fmt=_MARKS[place % len(_MARKS)],
            ms=7,
            color=colour,
            mfc=colour if best else "white",
            elinewidth=1,
            label=f"{arm} ({front.sure[place]:.0%} on the front)",
        )
    corners = sorted(
        (x[0], y[0]) for x, y, best in zip(costs, goals, front.best, strict=True) if best
    )
    if len(corners) > 1:
        ax.step(*zip(*corners, strict=True), where="post", color=FAINT, lw=1, zorder=0)
    better = "higher" if BETTER[front.goal] == "max" else "lower"
    names = (f"{front.cost} (lower is better)", f"{front.goal} ({better} is better)")
    x, y = (unit.name(words) for unit, words in zip(units, names, strict=True))
    frame(ax, x=x, y=y, grid="y")
    key(ax, columns=2)
    return svg(figure)


def growth_svg(section: Section) -> str:
    """When each seed of each arm grew, and what made it."""
    from structure_net.visualization.canvas import frame, key, legible

    rows = [shown for arm in section.arms for shown in _grown(section, arm)]
    words = tuple(dict.fromkeys(text for shown in rows for _, text in shown.events))
    figure, (ax,) = panels(1, 1, 1.2 + 0.16 * len(rows))
    for word, colour, mark in zip(words, colours(words), _marks(words), strict=True):
        at = [
            (when, row)
            for row, shown in enumerate(rows)
            for when, text in shown.events
            if text == word
        ]
        ax.plot(*zip(*at, strict=True), mark, color=colour, ms=5, label=legible(word))
    ax.set_yticks(range(len(rows)), [legible(f"{one.arm}, seed {one.seed}") for one in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    frame(ax, x="epoch", grid="x")
    key(ax, columns=2)
    return svg(figure)


def compared(section: Section) -> tuple[str, ...]:
    """The metrics whose seeds are drawn: those that predictions are about."""
    said = section.review.frozen.statement["predictions"]
    metrics = dict.fromkeys(str(one["metric"]) for one in said)
    return tuple(name for name in metrics if section.values(name))[:MOST_PANELS]


def curve_names(section: Section) -> tuple[str, ...]:
    """The curves that are drawn: those that change over two epochs or more, as they came."""
    names = dict.fromkeys(
        name
        for shown in section.shown
        for name, curve in shown.curves.items()
        if len(curve) > 1 and len(set(curve)) > 1
    )
    return tuple(names)[:MOST_PANELS]


def grew(section: Section) -> bool:
    """Whether anything happened in a trial that is shown."""
    return any(shown.events for shown in section.shown)


def _grown(section: Section, arm: str) -> list[Any]:
    of_arm = [shown for shown in section.shown if shown.arm == arm and shown.events]
    return sorted(of_arm, key=lambda shown: shown.seed)[:MOST_PANELS]


def _effect(ax: Axes, evidence: Evidence) -> None:
    from structure_net.visualization.canvas import BLUE, GREY, INK, PALE, frame

    comparison, mean = evidence.comparison, evidence.mean
    assert mean is not None  # those without are not drawn
    margin = comparison.prediction.smallest_effect
    unit = Unit.of((*comparison.differences, mean.value, margin))
    margin, differences = unit(margin), [unit(one) for one in comparison.differences]
    if margin:
        ax.axvspan(-margin, margin, color=PALE, lw=0)
    ax.axvline(0, color=INK, lw=0.8)
    ax.plot(differences, [0.0] * len(differences), "|", color=GREY, ms=9)
    ax.errorbar(
        unit(mean.value),
        0,
        xerr=_reach(*map(unit, (mean.value, mean.low, mean.high))),
        fmt="o",
        color=BLUE,
        ms=6,
        elinewidth=2,
        capsize=4,
    )
    ax.set_ylim(-1, 1)
    ax.set_yticks([])
    said = f"{comparison.prediction.metric}: {comparison.arm} minus {comparison.versus}"
    frame(ax, x=f"{unit.name(said)} — {evidence.verdict.upper()}")
    ax.spines["left"].set_visible(False)


def _reach(value: float, low: float, high: float) -> list[list[float]]:
    """How far an interval reaches to both sides; not at all to one where it has no end."""
    sides = (value - low, high - value)
    return [[0.0 if math.isnan(side) else side] for side in sides]


def _curves(ax: Axes, curves: Sequence[Sequence[float]], colour: str, arm: str) -> None:
    from structure_net.visualization.canvas import legible

    if not curves:
        return
    for curve in curves:
        ax.plot(range(1, len(curve) + 1), curve, color=colour, lw=0.5, alpha=0.3)
    shortest = min(len(curve) for curve in curves)
    means = [sum(curve[at] for curve in curves) / len(curves) for at in range(shortest)]
    ax.plot(range(1, shortest + 1), means, color=colour, lw=2, label=legible(arm))


def colours(names: Sequence[str]) -> list[str]:
    """One colour for each name; those of more than six repeat."""
    from structure_net.visualization.canvas import BLUE, GREEN, INK, ORANGE, PURPLE, VERMILLION

    known = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, INK)
    return [known[place % len(known)] for place in range(len(names))]


def _marks(names: Sequence[str]) -> list[str]:
    return [_MARKS[place % len(_MARKS)] for place in range(len(names))]


def panels(count: int, columns: int, height: float) -> tuple[Any, list[Any]]:
    """A figure that no global list holds, with ``count`` axes."""
    from matplotlib.figure import Figure

    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(_WIDTH, 0.2 + rows * height), layout="constrained", facecolor="white")
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for ax in grid[count:]:
        ax.set_axis_off()
    return figure, grid[:count]


def svg(figure: Any) -> str:
    """A figure as SVG, the same text for the same figure."""
    from matplotlib import rc_context

    text = StringIO()
    with rc_context({"svg.hashsalt": "lab", "svg.fonttype": "path"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
