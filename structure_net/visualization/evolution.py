"""The picture of an evolution: accuracy (or loss) and size over seconds, growth events marked.

What is drawn is plain data (`EvolutionCurve`), so that a picture can be made from a live run,
from a stored one or by hand. Figures are made through matplotlib's object interface: no global
state is changed, and no display is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from structure_net.visualization.canvas import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    PURPLE,
    VERMILLION,
    legible,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LABEL_ROWS = 3
_LABEL_SIZE = 8
_NEAR = 0.06

Measure = Literal["accuracy", "loss"]
Corner = Literal["lower right", "upper right"]


@dataclass(frozen=True, slots=True)
class EvolutionPoint:
    """A network at the end of one epoch.

    Args:
        seconds: Wall-clock time since the start of the run.
        parameters: How many parameters are live.
        connections: How many connections are live.
        train_accuracy: Between 0 and 1; None where it was not measured.
        validation_accuracy: Between 0 and 1; None where it was not measured.
        train_loss: None where it was not measured.
        validation_loss: None where it was not measured.
    """

    seconds: float
    parameters: int
    connections: int
    train_accuracy: float | None = None
    validation_accuracy: float | None = None
    train_loss: float | None = None
    validation_loss: float | None = None


@dataclass(frozen=True, slots=True)
class GrowthMark:
    """An edit of the architecture: when it happened (seconds) and a few words on what it did."""

    seconds: float
    label: str


@dataclass(frozen=True, slots=True)
class Reference:
    """A network to compare with, drawn as a level line with its name.

    Args:
        name: Of the network.
        accuracy: Between 0 and 1; None where it was not measured.
        loss: None where it was not measured.
    """

    name: str
    accuracy: float | None = None
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class EvolutionCurve:
    """Everything that the picture shows.

    Args:
        points: In order of time.
        marks: The edits, in order of time.
        references: What the network is compared with.
        title: Stands above the picture.
    """

    points: tuple[EvolutionPoint, ...]
    marks: tuple[GrowthMark, ...] = ()
    references: tuple[Reference, ...] = ()
    title: str = ""

    @property
    def measure(self) -> Measure:
        """What the upper panel shows: losses where no accuracy was measured but a loss was."""
        accuracies = [x for p in self.points for x in (p.train_accuracy, p.validation_accuracy)]
        losses = [x for p in self.points for x in (p.train_loss, p.validation_loss)]
        known = any(x is not None for x in accuracies), any(x is not None for x in losses)
        return "loss" if known == (False, True) else "accuracy"


def plot_evolution(curve: EvolutionCurve, *, axes: tuple[Axes, Axes] | None = None) -> Figure:
    """Draws accuracy (above) and size (below) over seconds, with the growth events marked in both.

    A run without accuracies, such as a regression, shows its losses instead. An event is named
    where there is room for its name.

    Args:
        curve: What to draw.
        axes: Two axes of a figure of yours, for accuracy and for size; a new figure if None.

    Returns:
        The figure that holds the two axes.

    Raises:
        ValueError: There is no point, or the points are not in order of time.
    """
    _check(curve)
    figure, (quality, size) = _new_figure() if axes is None else (_figure_of(axes[0]), axes)
    _draw_quality(quality, curve)
    _draw_size(size, curve)
    _draw_marks(quality, size, curve.marks)
    if curve.title:
        title = legible(curve.title)
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)
    return figure


def _check(curve: EvolutionCurve) -> None:
    times = [point.seconds for point in curve.points]
    if not times:
        raise ValueError("A picture needs at least one point; got none. Train for one epoch first.")
    if times != sorted(times):
        raise ValueError(f"The points must be in order of time; got seconds {times}.")


def _new_figure() -> tuple[Figure, tuple[Axes, Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 6.2), dpi=150, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    accuracy, size = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    return figure, (accuracy, size)


def _figure_of(axes: Axes) -> Figure:
    figure = axes.get_figure(root=True)
    if figure is None:
        raise ValueError("The axes belong to no figure; make them with `figure.subplots(2, 1)`.")
    return figure


def _draw_quality(axes: Axes, curve: EvolutionCurve) -> None:
    """Draws the accuracies of training and validation, or their losses."""
    measure = curve.measure
    _frame(axes, measure)
    ends: list[_End] = []
    for part, name, colour, style, marker in (
        ("train", "training", VERMILLION, "--", "s"),
        ("validation", "validation", BLUE, "-", "o"),
    ):
        pairs = _values(curve.points, f"{part}_{measure}")
        if pairs:
            times, values = zip(*pairs, strict=True)
            axes.plot(
                times, values, style, marker=marker, color=colour, label=name, lw=1.8, markersize=4
            )
            ends.append(_End(times[-1], values[-1], _said(values[-1], measure), colour))
    levels = [(r.name, x) for r in curve.references if (x := getattr(r, measure)) is not None]
    for (name, level), colour in zip(levels, _cycle(len(levels)), strict=True):
        label = f"{legible(name)} ({_said(level, measure)})"
        axes.axhline(level, color=colour, lw=1.4, ls=(0, (1, 1.5)), label=label)
    _limit(axes, curve, [level for _, level in levels])
    _name_ends(axes, ends)
    if ends or levels:
        # Accuracies rise and losses fall, which leaves the corner opposite to their end free.
        free: Corner = "lower right" if measure == "accuracy" else "upper right"
        axes.legend(loc=free, frameon=True, framealpha=0.9, edgecolor="none", fontsize=9)


def _said(value: float, measure: Measure) -> str:
    """With three decimals; a small loss with three digits."""
    return f"{value:.3g}" if measure == "loss" and abs(value) < 0.1 else f"{value:.3f}"


def _values(points: Sequence[EvolutionPoint], name: str) -> list[tuple[float, float]]:
    """Seconds and the value called ``name``, where it was measured."""
    return [(p.seconds, x) for p in points if (x := getattr(p, name)) is not None]


def _cycle(count: int) -> list[str]:
    colours = (GREEN, PURPLE, INK)
    return [colours[index % len(colours)] for index in range(count)]


@dataclass(frozen=True, slots=True)
class _End:
    time: float
    value: float
    text: str
    colour: str


def _name_ends(axes: Axes, ends: Sequence[_End]) -> None:
    """Writes each curve's last value beside it; values that lie close together are moved apart."""
    low, high = axes.get_ylim()
    ordered = sorted(ends, key=lambda end: end.value)
    for index, end in enumerate(ordered):
        neighbours = (ordered[index - 1 : index] or []) + ordered[index + 1 : index + 2]
        near = [n for n in neighbours if abs(n.value - end.value) < _NEAR * (high - low)]
        shift = (6 if index else -6) if near else 0
        axes.annotate(
            end.text,
            (end.time, end.value),
            xytext=(5, shift),
            textcoords="offset points",
            va="center",
            color=end.colour,
            fontsize=9,
            annotation_clip=False,
        )


def _limit(axes: Axes, curve: EvolutionCurve, levels: Sequence[float]) -> None:
    """Accuracies end at 1; losses begin at 0, or below where one is negative."""
    values = list(levels)
    for part in ("train", "validation"):
        values += [value for _, value in _values(curve.points, f"{part}_{curve.measure}")]
    low, high = min(values, default=0.0), max(values, default=1.0)
    if curve.measure == "accuracy":
        axes.set_ylim(max(0.0, low - 0.08), 1.02)
    else:
        axes.set_ylim(min(0.0, 1.08 * low), 1.08 * max(high, 0.0) or 1.0)


def _draw_size(axes: Axes, curve: EvolutionCurve) -> None:
    from matplotlib.ticker import StrMethodFormatter

    _frame(axes, "live count")
    ends: list[_End] = []
    for counts, name, colour, style in (
        ([p.parameters for p in curve.points], "parameters", PURPLE, "--"),
        ([p.connections for p in curve.points], "connections", GREEN, "-"),
    ):
        times, steps = _steps(curve, counts)
        axes.plot(times, steps, style, color=colour, label=name, lw=1.8)
        axes.plot([p.seconds for p in curve.points], counts, "o", color=colour, markersize=2.5)
        ends.append(_End(times[-1], counts[-1], f"{counts[-1]:,}", colour))
    axes.set_ylim(0, 1.12 * max(p.parameters for p in curve.points))
    _name_ends(axes, ends)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlabel("wall-clock time (seconds)", color=INK)
    axes.legend(loc="lower right", frameon=True, framealpha=0.9, edgecolor="none", fontsize=9)


def _steps(curve: EvolutionCurve, counts: Sequence[int]) -> tuple[list[float], list[int]]:
    """A count jumps when the network is edited, which is before the epoch that reports it."""
    times, steps = [curve.points[0].seconds], [counts[0]]
    for before, point, count in zip(curve.points, curve.points[1:], counts[1:], strict=False):
        edits = [m.seconds for m in curve.marks if before.seconds <= m.seconds <= point.seconds]
        jump = edits[-1] if edits else before.seconds
        times += [jump, jump, point.seconds]
        steps += [steps[-1], count, count]
    return times, steps


def _draw_marks(quality: Axes, size: Axes, marks: Sequence[GrowthMark]) -> None:
    for mark in marks:
        for axes in (quality, size):
            axes.axvline(mark.seconds, color=FAINT, lw=1.0, zorder=0)
    ends = [float("-inf")] * _LABEL_ROWS
    for mark in marks:
        place = float(quality.transData.transform((mark.seconds, 0.0))[0])
        half = _half_width(quality, mark.label)
        free = [row for row, end in enumerate(ends) if end < place - half]
        if free:
            ends[free[0]] = place + half
            _name_mark(quality, mark, row=free[0])


def _half_width(axes: Axes, label: str) -> float:
    """Half the width of a label in pixels, from the usual width of a letter."""
    return 0.5 * len(label) * _LABEL_SIZE * 0.62 * axes.figure.dpi / 72


def _name_mark(axes: Axes, mark: GrowthMark, *, row: int) -> None:
    axes.annotate(
        legible(mark.label),
        (mark.seconds, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 3 + 12 * row),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=_LABEL_SIZE,
        color=INK,
    )


def _frame(axes: Axes, label: str) -> None:
    axes.set_ylabel(label, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#EEEEEE", lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK)
