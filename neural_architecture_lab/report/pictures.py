"""The pictures of a report, as SVG: effects, seeds, learning curves, the front, growth.

Each is a plain function of a `Section` that returns a text, the same one for the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

from neural_architecture_lab.insights.arms import BETTER
from neural_architecture_lab.judgement import Evidence
from neural_architecture_lab.report.fronts import Front
from neural_architecture_lab.report.gathering import Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS: Final = 8
"""Further predictions, metrics and curves are left to the tables."""

_WIDTH: Final = 7.2
_MARKS: Final = "osD^vPX*"


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
        for seed in sorted({seed for arm in arms for seed in table[arm]}):
            at = [(place, table[arm][seed]) for place, arm in enumerate(arms) if seed in table[arm]]
            ax.plot(*zip(*at, strict=True), color=FAINT, lw=0.7, marker="o", ms=3, zorder=1)
        means = [sum(table[arm].values()) / len(table[arm]) for arm in arms]
        ax.plot(range(len(arms)), means, "_", color=VERMILLION, ms=22, mew=2.2, zorder=2)
        ax.set_xlim(-0.5, len(arms) - 0.5)
        frame(ax, y=metric, grid="y")
        name_columns(ax, arms)
    return svg(figure)


def curves_svg(section: Section) -> str:
    """Learning curves: the mean of each arm's first seeds, and each seed faintly."""
    from structure_net.visualization.canvas import frame, key

    names = curve_names(section)
    figure, axes = panels(len(names), 2, 2.5)
    for place, (ax, name) in enumerate(zip(axes, names, strict=True)):
        for arm, colour in zip(section.arms, colours(section.arms), strict=True):
            of_arm = [s.curves[name] for s in section.shown if s.arm == arm and name in s.curves]
            _curves(ax, of_arm, colour, arm)
        frame(ax, x="epoch", y=name, grid="y")
        if place == 0:
            key(ax, columns=3)
    return svg(figure)


def front_svg(front: Front) -> str:
    """What the arms reach against what they cost; those that nothing beats are filled."""
    from structure_net.visualization.canvas import FAINT, frame, key

    figure, (ax,) = panels(1, 1, 3.4)
    for place, (arm, colour) in enumerate(zip(front.arms, colours(front.arms), strict=True)):
        x, y, best = front.costs[place], front.goals[place], front.best[place]
        ax.errorbar(
            x.value,
            y.value,
            xerr=[[x.value - x.low], [x.high - x.value]],
            yerr=[[y.value - y.low], [y.high - y.value]],
            fmt=_MARKS[place % len(_MARKS)],
            ms=7,
            color=colour,
            mfc=colour if best else "white",
            elinewidth=1,
            label=f"{arm} ({front.sure[place]:.0%} on the front)",
        )
    corners = sorted(
        (x.value, y.value)
        for x, y, best in zip(front.costs, front.goals, front.best, strict=True)
        if best
    )
    if len(corners) > 1:
        ax.step(*zip(*corners, strict=True), where="post", color=FAINT, lw=1, zorder=0)
    better = "higher" if BETTER[front.goal] == "max" else "lower"
    frame(ax, x=f"{front.cost} (lower is better)", y=f"{front.goal} ({better} is better)", grid="y")
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
    if margin:
        ax.axvspan(-margin, margin, color=PALE, lw=0)
    ax.axvline(0, color=INK, lw=0.8)
    ax.plot(comparison.differences, [0.0] * len(comparison.differences), "|", color=GREY, ms=9)
    ax.errorbar(
        mean.value,
        0,
        xerr=[[mean.value - mean.low], [mean.high - mean.value]],
        fmt="o",
        color=BLUE,
        ms=6,
        elinewidth=2,
        capsize=4,
    )
    ax.set_ylim(-1, 1)
    ax.set_yticks([])
    said = f"{comparison.prediction.metric}: {comparison.arm} minus {comparison.versus}"
    frame(ax, x=f"{said} — {evidence.verdict.upper()}")
    ax.spines["left"].set_visible(False)


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
