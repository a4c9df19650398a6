"""Pictures of a training with growth, and of the network that came of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from structure_net.den.core import DynamicExpandableNetwork
from structure_net.visualization.canvas import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    PURPLE,
    SMALL,
    TITLE,
    VERMILLION,
    frame,
    key,
    legible,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STYLES: Final = {
    "width": (GREEN, "-", "wider"),
    "depth": (ORANGE, "--", "deeper"),
    "prune": (GREY, ":", "pruned"),
}


def plot_training_history(
    history: Mapping[str, list[Any]],
    save_path: str | Path | None = None,
    use_time: bool = False,
) -> Figure:
    """Draws loss, accuracy where there is one, and size over epochs, with the growth marked.

    Args:
        history: What `DENTrainer.train` returned.
        save_path: Where the picture is written to; the suffix says the format.
        use_time: Whether the axis shows seconds of training instead of epochs.

    Returns:
        The figure.

    Raises:
        ValueError: The history holds no epoch.
    """
    epochs = len(history["timestamps"])
    if not epochs:
        raise ValueError("A history without an epoch cannot be drawn; train first.")
    places = history["timestamps"] if use_time else list(range(1, epochs + 1))
    accurate = any(value is not None for value in history["train_accuracy"])
    figure, axes = _figure(3 if accurate else 2)
    _curves(axes[0], history, places, "loss")
    if accurate:
        _curves(axes[1], history, places, "accuracy")
    _size(axes[-1], history, places)
    axes[-1].set_xlabel("seconds of training" if use_time else "epoch", color=INK)
    for ax in axes:
        _marks(ax, history, places)
    _legend_of_marks(axes[-1], history)
    return _saved(figure, save_path)


def _figure(rows: int) -> tuple[Figure, Sequence[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 2.6 * rows), dpi=150, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, 1, sharex=True))


def _curves(
    ax: Axes, history: Mapping[str, list[Any]], places: Sequence[float], measure: str
) -> None:
    frame(ax, title=measure, y=measure, grid="y")
    drawn: list[float] = []
    for part, name, colour, style in (
        ("train", "training", VERMILLION, "--"),
        ("val", "held out", BLUE, "-"),
    ):
        pairs = zip(places, history[f"{part}_{measure}"], strict=True)
        known = [(place, value) for place, value in pairs if value is not None]
        if known:
            x, y = zip(*known, strict=True)
            ax.plot(x, y, style, color=colour, label=name, lw=1.8)
            drawn += y
    if measure == "loss" and min(drawn) > 0 and max(drawn) > 20 * min(drawn):
        ax.set_yscale("log")
    if len(ax.get_lines()) > 1:
        key(ax)


def _size(ax: Axes, history: Mapping[str, list[Any]], places: Sequence[float]) -> None:
    frame(ax, title="parameters", y="parameters", grid="y")
    ax.plot(places, history["num_parameters"], color=PURPLE, lw=1.8, drawstyle="steps-pre")
    ax.set_ylim(0, 1.15 * max(history["num_parameters"]))


def _marks(ax: Axes, history: Mapping[str, list[Any]], places: Sequence[float]) -> None:
    for event in (*history["growth_events"], *history["pruning_events"]):
        colour, style, _ = _STYLES[event["type"]]
        ax.axvline(places[event["epoch"]], color=colour, ls=style, lw=1.0, zorder=0)


def _legend_of_marks(ax: Axes, history: Mapping[str, list[Any]]) -> None:
    from matplotlib.lines import Line2D

    seen = {e["type"] for e in (*history["growth_events"], *history["pruning_events"])}
    handles = [
        Line2D([], [], color=colour, ls=style, lw=1.2, label=label)
        for kind, (colour, style, label) in _STYLES.items()
        if kind in seen
    ]
    key(ax, handles)


@dataclass(frozen=True, slots=True)
class _Column:
    units: int
    label: str
    colour: str
    beside: bool = False

    @property
    def height(self) -> float:
        return math.sqrt(self.units)


def visualize_network_architecture(
    network: DynamicExpandableNetwork, save_path: str | Path | None = None
) -> Figure:
    """Draws the layers in the order in which they run, each as high as the root of its units.

    Layers that grew are told apart from those of birth. One that stands beside the signal, which
    goes around it, has a bow above it.

    Args:
        network: Read only.
        save_path: Where the picture is written to; the suffix says the format.

    Returns:
        The figure.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = list(_columns(network))
    size = (max(6.0, 1.15 * len(columns)), 4.4)
    figure = Figure(figsize=size, dpi=150, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    tallest = max(column.height for column in columns)
    for place, column in enumerate(columns):
        _draw_column(ax, place, column, tallest)
        if place:
            _draw_link(ax, place, columns[place - 1].height, column.height)
    ax.set_xlim(-0.7, len(columns) - 0.3)
    ax.set_ylim(-0.62 * tallest, 0.72 * tallest)
    ax.axis("off")
    said = f"{network.get_num_parameters():,} parameters"
    ax.set_title(said, loc="left", fontsize=TITLE, fontweight="bold", color=INK)
    _legend_of_columns(ax, columns)
    return _saved(figure, save_path)


def _columns(network: DynamicExpandableNetwork) -> Iterator[_Column]:
    yield _Column(network.input_size, "input", INK)
    for place, layer in enumerate(network.hidden):
        grown = ".grafts." in layer.name
        beside = layer.name.endswith(".expand")
        yield _Column(layer.size, f"layer {place}", GREEN if grown else BLUE, beside)
    yield _Column(network.output_size, "output", INK)


def _draw_column(ax: Axes, place: int, column: _Column, tallest: float) -> None:
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    low = -column.height / 2
    style: dict[str, Any] = {
        "boxstyle": "round,pad=0.02,rounding_size=0.06",
        "mutation_aspect": tallest / 3,
    }
    box = FancyBboxPatch(
        (place - 0.17, low), 0.34, column.height, fc=column.colour, ec="none", **style
    )
    ax.add_patch(box)
    centred: dict[str, Any] = {"ha": "center", "color": INK, "fontsize": SMALL}
    ax.text(place, column.height / 2 + 0.05 * tallest, f"{column.units:,}", va="bottom", **centred)
    ax.text(place, -0.55 * tallest, legible(column.label), va="top", **centred)
    if column.beside:
        ends = (place - 0.42, 0.57 * tallest), (place + 0.42, 0.57 * tallest)
        bow = FancyArrowPatch(*ends, connectionstyle="arc3,rad=-0.25", arrowstyle="-|>", color=GREY)
        bow.set_mutation_scale(8)
        ax.add_patch(bow)


def _draw_link(ax: Axes, place: int, before: float, after: float) -> None:
    left, right = place - 1 + 0.2, place - 0.2
    corners = ([left, right, right, left], [-before / 2, -after / 2, after / 2, before / 2])
    ax.fill(*corners, color=PALE, ec=FAINT, lw=0.5, zorder=0)


def _legend_of_columns(ax: Axes, columns: Sequence[_Column]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    colours = {column.colour for column in columns}
    handles: list[Any] = [Patch(color=BLUE, label="layer of birth")]
    if GREEN in colours:
        handles.append(Patch(color=GREEN, label="layer that grew"))
    if any(column.beside for column in columns):
        handles.append(Line2D([], [], color=GREY, label="the signal goes around it"))
    key(ax, handles)


def _saved(figure: Figure, path: str | Path | None) -> Figure:
    if path is not None:
        figure.savefig(path)
    return figure
