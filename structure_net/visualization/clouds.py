"""The shape of activations: persistence diagrams, barcodes and Betti curves of their clouds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from structure_net.evolution.metrics.cloud_nulls import CloudNull
from structure_net.evolution.metrics.clouds import PersistenceDiagrams
from structure_net.evolution.metrics.validity import Unavailable
from structure_net.visualization.canvas import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    INK,
    SMALL,
    TEXT,
    VERMILLION,
    Analysis,
    beside,
    found,
    frame,
    key,
    name_rows,
    new_axes,
    of_layer,
    say_absent,
    short,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_KINDS: Final = ("components", "loops", "voids")
_COLOURS: Final = (BLUE, VERMILLION, GREEN)
_MARKERS: Final = ("o", "^", "s")
_MOST_BARS: Final = 24
_DEEP: Final = 0.35


def plot_persistence_diagram(
    analysis: Analysis, ax: Axes | None = None, *, layer: str | None = None
) -> Axes:
    """The scales at which components and loops of a layer's activations are born and die.

    Filled marks live longer than any hole of 95 % of the clouds whose units are independent
    (`topology_cloud_null`); the band along the diagonal is what these have too. What never dies
    stands on the line at the top.

    Args:
        analysis: Of `TopologicalAnalyzer`.
        ax: Where to draw; a new figure if None.
        layer: Its name; the first one with a diagram if None.

    Raises:
        MissingAnalysisError: A key is absent, or there is no such layer.
    """
    ax = new_axes(ax, width=5.2, height=5.0)
    name, diagrams = of_layer(analysis, "topology_diagrams", layer)
    title = f"Holes of the activations of {short(name)}"
    if not isinstance(diagrams, PersistenceDiagrams):
        return say_absent(ax, title, diagrams)
    bounds = _bounds(analysis, name)
    frame(ax, title=title, x="born at scale", y="dies at scale")
    end = _end(diagrams, bounds)
    for dimension, bars in diagrams.pairs.items():
        _band(ax, dimension, bounds.get(dimension, 0.0), end)
        _marks(ax, dimension, bars.numpy(), (bounds.get(dimension, 0.0), end))
    ax.plot([0, end], [0, end], color=GREY, lw=1.0)
    ax.axhline(end, color=GREY, lw=1.0, ls=(0, (4, 3)))
    ax.annotate("never dies", (end, end), xytext=(0, 3), textcoords="offset points",
                ha="right", fontsize=SMALL, color=GREY)  # fmt: skip
    ax.set_xlim(-0.04 * end, 1.02 * end)
    ax.set_ylim(-0.02 * end, 1.07 * end)
    ax.set_aspect("equal", adjustable="box")
    _explain(ax, bool(bounds))
    return ax


def _end(diagrams: PersistenceDiagrams, bounds: Mapping[int, float]) -> float:
    """Where scales end that are worth showing: a little beyond the last death and the bands."""
    deaths = [
        float(diagrams.finite(k)[:, 1].max()) for k in diagrams.pairs if len(diagrams.finite(k))
    ]
    return 1.12 * max([*deaths, bounds.get(0, 0.0)], default=diagrams.diameter)


def _bounds(analysis: Analysis, layer: str) -> dict[int, float]:
    """The lengths that chance reaches, by dimension; empty where there is no null."""
    nulls = found(analysis, "topology_cloud_null")
    null = nulls.get(layer) if isinstance(nulls, Mapping) else None
    if not isinstance(null, CloudNull):
        return {}
    return {dimension: null.bound(dimension) for dimension in null.longest}


def _band(ax: Axes, dimension: int, bound: float, end: float) -> None:
    """What chance reaches: along the diagonal, but for components, which are born at 0."""
    colour = _COLOURS[dimension % 3]
    if dimension == 0:
        ax.fill_between([-0.02 * end, 0.02 * end], [0, 0], [bound, bound], color=colour, alpha=0.15,
                        lw=0)  # fmt: skip
    elif bound:
        ends = np.array([0.0, max(end - bound, 0.0), end])
        ax.fill_between(ends, ends, np.minimum(ends + bound, end), color=colour, alpha=0.15, lw=0)


def _marks(ax: Axes, dimension: int, bars: Any, limits: tuple[float, float]) -> None:
    bound, end = limits
    lengths = bars[:, 1] - bars[:, 0]
    long = np.isfinite(lengths) & (lengths > bound)
    deaths = np.where(np.isfinite(bars[:, 1]), bars[:, 1], end)
    colour, marker = _COLOURS[dimension % 3], _MARKERS[dimension % 3]
    for chosen, fill in ((~long, "none"), (long, colour)):
        ax.scatter(bars[chosen, 0], deaths[chosen], s=20, marker=marker, facecolors=fill,
                   edgecolors=colour, linewidths=0.9, zorder=3)  # fmt: skip


def _explain(ax: Axes, compared: bool) -> None:
    from matplotlib.lines import Line2D

    blank: dict[str, Any] = {"ls": "none", "markersize": 5}
    handles = [
        Line2D([], [], marker=_MARKERS[k], color=_COLOURS[k], label=_KINDS[k], **blank)
        for k in range(2)
    ]
    if compared:
        words = "hollow, in band: as by chance"
        handles.append(Line2D([], [], marker="o", mfc="none", color=GREY, label=words, **blank))
    key(ax, handles)


def plot_persistence_barcode(
    analysis: Analysis, ax: Axes | None = None, *, layer: str | None = None
) -> Axes:
    """The lives of components and loops of a layer's activations, the longest of each on top.

    The pale part of a bar is as long as the longest one of a cloud of independent units (95 % of
    them); what goes beyond it is drawn in full colour.

    Args:
        analysis: Of `TopologicalAnalyzer`.
        ax: Where to draw; a new figure if None.
        layer: Its name; the first one with a diagram if None.

    Raises:
        MissingAnalysisError: A key is absent, or there is no such layer.
    """
    ax = new_axes(ax, height=4.8)
    name, diagrams = of_layer(analysis, "topology_diagrams", layer)
    title = f"Lives of the holes of {short(name)}"
    if not isinstance(diagrams, PersistenceDiagrams):
        return say_absent(ax, title, diagrams)
    bounds = _bounds(analysis, name)
    frame(ax, title=title, x="scale")
    end, row = _end(diagrams, bounds), 0
    for dimension, bars in diagrams.pairs.items():
        row = _lanes(ax, dimension, bars.numpy(), (bounds.get(dimension, 0.0), end),
                     row)  # fmt: skip
    ax.set_ylim(row - 1, -1.5)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_xlim(0, 1.02 * end)
    if bounds:
        _explain_bars(ax)
    return ax


def _lanes(ax: Axes, dimension: int, bars: Any, limits: tuple[float, float], first: int) -> int:
    """Draws the longest bars of one dimension from row ``first`` on; returns the next free row."""
    bound, end = limits
    shown = bars[:_MOST_BARS]
    colour = _COLOURS[dimension % 3]
    births = shown[:, 0]
    deaths = np.where(np.isfinite(shown[:, 1]), shown[:, 1], 1.02 * end)
    rows = first + 2 + np.arange(len(shown))
    # What never dies is there in every cloud.
    split = np.where(np.isfinite(shown[:, 1]), np.minimum(births + bound, deaths), deaths)
    ax.hlines(rows, births, split, color=colour, alpha=0.3, lw=2.4)
    ax.hlines(rows, split, deaths, color=colour, lw=2.4)
    ax.text(0.99 * end, first, _count(dimension, len(bars)), ha="right", va="center",
            fontsize=TEXT, color=colour, fontweight="bold")  # fmt: skip
    return first + len(shown) + 4


def _count(dimension: int, count: int) -> str:
    kind = _KINDS[dimension] if dimension < len(_KINDS) else f"holes of dimension {dimension}"
    left = f", the longest {_MOST_BARS}" if count > _MOST_BARS else ""
    return f"{count} {kind}{left}" if count else f"no {kind}"


def _explain_bars(ax: Axes) -> None:
    from matplotlib.lines import Line2D

    key(
        ax,
        [
            Line2D([], [], color=INK, lw=2.4, alpha=0.3, label="as long as by chance (95 %)"),
            Line2D([], [], color=INK, lw=2.4, label="beyond chance"),
        ],
    )


def plot_betti_curves(analysis: Analysis, ax: Axes | None = None, *, dimension: int = 1) -> Axes:
    """How many holes the activations of each layer have at each scale; all on the same height.

    Args:
        analysis: Of `TopologicalAnalyzer`.
        ax: Where to draw; a new figure if None.
        dimension: 0 for components, 1 for loops.

    Raises:
        MissingAnalysisError: The key is absent.
        ValueError: The curves have no such dimension.
    """
    curves = found(analysis, "topology_betti_curves")
    rows = list(curves)
    ax = new_axes(ax, height=1.6 + 0.62 * max(len(rows), 3))
    kind = _KINDS[dimension] if 0 <= dimension < len(_KINDS) else f"holes of dimension {dimension}"
    title = f"Number of {kind} by layer and scale"
    drawn = {name: one for name, one in curves.items() if not isinstance(one, Unavailable)}
    if not drawn:
        return say_absent(ax, title, next(iter(curves.values()), "no layer was looked at"))
    for one in drawn.values():
        if dimension not in one.counts:
            raise ValueError(
                f"The curves have dimensions {sorted(one.counts)}; got {dimension}. Let"
                " TopologicalAnalyzer look for holes of that dimension."
            )
    frame(ax, title=title, x="scale, over the diameter of the layer's cloud")
    name_rows(ax, rows)
    peak = max(1, *(int(one.counts[dimension].max()) for one in drawn.values()))
    for row, name in enumerate(rows):
        _ridge(ax, row, curves[name], dimension=dimension, peak=peak)
    ax.set_ylim(len(rows) - 0.5 + _DEEP / 2, -0.75)
    ax.set_xlim(0, max(_last(one, dimension) for one in drawn.values()))
    ax.spines["left"].set_visible(False)
    return ax


def _last(curve: Any, dimension: int) -> float:
    """The relative scale a little beyond the last hole; 1 where there is none."""
    alive = curve.counts[dimension].nonzero().flatten()
    if not len(alive) or dimension == 0:
        return 1.0
    return min(1.0, 1.15 * float(curve.scales[alive[-1]] / curve.scales[-1]))


def _ridge(ax: Axes, row: int, curve: Any, *, dimension: int, peak: int) -> None:
    base = row + _DEEP
    ax.axhline(base, color=FAINT, lw=0.8)
    if isinstance(curve, Unavailable):
        ax.text(0.5, row, "not available", ha="center", fontsize=SMALL, color=GREY, style="italic")
        return
    counts = curve.counts[dimension].numpy()
    scales = (curve.scales / curve.scales[-1]).numpy()
    heights = base - 0.85 * counts / peak
    colour = _COLOURS[dimension % 3]
    ax.fill_between(scales, base, heights, step="post", color=colour, alpha=0.25, lw=0)
    ax.step(scales, heights, where="post", color=colour, lw=1.4)
    beside(ax, row, f"at most {int(counts.max()):,}", colour=colour)
