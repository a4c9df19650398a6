"""Layers over iterations: how a measure of each moved, and when each was edited."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from structure_net.evolution.metrics.validity import Unavailable
from structure_net.surgery.edits import Edit
from structure_net.surgery.entries import START
from structure_net.surgery.journal import Journal
from structure_net.surgery.labels import describe_edits
from structure_net.visualization.canvas import (
    GREEN,
    INK,
    PALE,
    SMALL,
    VERMILLION,
    Analysis,
    found,
    frame,
    key,
    name_rows,
    new_axes,
    number,
    numbers,
    say_absent,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_WRITTEN: Final = 12
_TAKES_AWAY: Final = ("Remove", "Merge", "Mask")
Edits = dict[tuple[str, int], list[Edit]]
"""By layer and iteration."""


def plot_timeline(
    series: Mapping[int, Analysis],
    ax: Axes | None = None,
    *,
    measure: str = "extrema_ratio",
    journal: Journal | None = None,
) -> Axes:
    """One measure of every layer over the iterations, with the edits of each layer marked.

    Args:
        series: What was found, by iteration from 0. Values that are computed late must have been
            read in their iteration: ``series[i] = {key: analysis[key]}``.
        ax: Where to draw; a new figure if None.
        measure: A key of one number for each layer.
        journal: Of the network: a triangle marks where a layer was edited, before the measures of
            that iteration were taken anew.

    Raises:
        MissingAnalysisError: An iteration lacks the key.
        ValueError: There is no iteration.
    """
    if not series:
        raise ValueError("A timeline needs at least one iteration; got none.")
    tables = {step: found(series[step], measure) for step in sorted(series)}
    layers = list(dict.fromkeys(n for one in tables.values() if one for n in one))
    ax = new_axes(ax, width=2.6 + 0.62 * max(len(tables), 5), height=1.9 + 0.45 * len(layers))
    title = f"{measure.replace('_', ' ').capitalize()} of each layer over the iterations"
    values = np.array(
        [[_value(one, name) for one in tables.values()] for name in layers], dtype=float
    )
    if not np.isfinite(values).any():
        reasons = [one for one in tables.values() if isinstance(one, Unavailable)]
        return say_absent(ax, title, reasons[0] if reasons else "no layer has a value")
    frame(ax, title=title, x="iteration")
    _heat(ax, values)
    name_rows(ax, layers)
    ax.set_xticks(range(len(tables)), [str(step + 1) for step in tables])
    _mark_edits(ax, layers, list(tables), _edits(journal))
    return ax


def _value(table: Any, layer: str) -> float:
    """The number of a layer, NaN where there is none."""
    one = table.get(layer) if isinstance(table, Mapping) else None
    return next(iter(numbers([one])), float("nan"))


def _heat(ax: Axes, values: np.ndarray[Any, Any]) -> None:
    from matplotlib import colormaps

    scale = colormaps["cividis"].with_extremes(bad=PALE)
    image = ax.imshow(np.ma.masked_invalid(values), cmap=scale, aspect="auto")
    low, high = np.nanmin(values), np.nanmax(values)
    if values.shape[1] <= _MOST_WRITTEN:
        for (row, column), value in np.ndenumerate(values):
            dark = not np.isfinite(value) or value - low > 0.55 * (high - low)
            said = number(float(value)) if np.isfinite(value) else "-"
            ax.text(column, row, said, ha="center", va="center", fontsize=SMALL,
                    color=INK if dark else "white")  # fmt: skip
    ax.spines[:].set_visible(False)
    bar = ax.figure.colorbar(image, ax=ax, pad=0.02)
    bar.ax.tick_params(labelsize=SMALL, colors=INK)
    bar.outline.set_visible(False)


def _mark_edits(ax: Axes, layers: Sequence[str], steps: Sequence[int], edits: Edits) -> None:
    drawn = [
        (steps.index(step), layers.index(layer))
        for layer, step in edits
        if layer in layers and step in steps
    ]
    if drawn:
        columns, rows = zip(*drawn, strict=True)
        ax.plot([c - 0.38 for c in columns], [r - 0.32 for r in rows], "^", color=VERMILLION,
                markersize=6, mec="white", mew=0.7, ls="none", label="edited")  # fmt: skip
        key(ax)


def plot_lineage(journal: Journal, ax: Axes | None = None) -> Axes:
    """When each layer was edited, and how, with the widths at birth.

    Args:
        journal: Of the network.
        ax: Where to draw; a new figure if None.
    """
    edits = _edits(journal)
    births: Mapping[str, Any] = next(
        (e.detail.get("layers", {}) for e in journal.events(START)), {}
    )
    layers = list(dict.fromkeys([*births, *(layer for layer, _ in edits)]))
    steps = max((e.iteration for e in journal), default=0) + 1
    ax = new_axes(ax, width=2.8 + 1.05 * max(steps, 5), height=1.9 + 0.45 * max(len(layers), 2))
    title = "What was edited, layer by layer"
    if not edits:
        return say_absent(ax, title, "the journal holds no edit")
    frame(ax, title=title, x="iteration")
    for (layer, step), done in edits.items():
        _cell(ax, (step, layers.index(layer)), done, written=steps <= _MOST_WRITTEN)
    names = {name: f"{name} ({births[name]['outputs']:,})" if name in births else name
             for name in layers}  # fmt: skip
    name_rows(ax, list(names.values()))
    ax.set_xticks(range(steps), [str(step + 1) for step in range(steps)])
    ax.set_xlim(-0.5, steps - 0.5)
    ax.spines[:].set_visible(False)
    _explain(ax)
    return ax


def _cell(ax: Axes, place: tuple[int, int], done: Sequence[Edit], *, written: bool) -> None:
    column, row = place
    less = all(type(edit).__name__.startswith(_TAKES_AWAY) for edit in done)
    colour = VERMILLION if less else GREEN
    ax.barh(row, 0.94, 0.8, left=column - 0.47, color=colour, alpha=0.22, lw=0)
    ax.text(column, row, _short(describe_edits(done)) if written else f"{len(done)}", ha="center",
            va="center", fontsize=SMALL - 0.5 if written else SMALL, color=INK)  # fmt: skip


def _short(text: str) -> str:
    return text.replace("connections", "conn.").replace(", ", ",\n")


def _explain(ax: Axes) -> None:
    from matplotlib.patches import Patch

    words = {GREEN: "adds or changes", VERMILLION: "takes away"}
    key(ax, [Patch(color=colour, alpha=0.3, label=text) for colour, text in words.items()])


def _edits(journal: Journal | None) -> Edits:
    found_edits: Edits = defaultdict(list)
    for entry in () if journal is None else journal.edits:
        layer = str(getattr(entry.edit, "layer", None) or getattr(entry.edit, "source", ""))
        found_edits[layer, entry.iteration].append(entry.edit)
    return dict(found_edits)
