"""Units, one by one: which are dead or saturated, and which fire together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

from structure_net.evolution.metrics.validity import Unavailable
from structure_net.visualization.canvas import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    SMALL,
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

# What a unit may be called, its colour, and how far its mark reaches, from the gravest on.
_STATES: Final = (
    ("dead", VERMILLION, 0.40),
    ("saturated", BLUE, 0.40),
    ("dormant", ORANGE, 0.20),
)
_MOST_NAMED: Final = 40
_MOST_RINGS: Final = 60


def plot_extrema(analysis: Analysis, ax: Axes | None = None) -> Axes:
    """Each layer's units from left to right, with the dead, the saturated and the dormant marked.

    Args:
        analysis: Of `StandardExtremaAnalyzer`.
        ax: Where to draw; a new figure if None.

    Raises:
        MissingAnalysisError: A key is absent.
    """
    scores = found(analysis, "extrema_dormancy")
    ax = new_axes(ax, height=1.8 + 0.42 * max(len(scores), 2))
    title = "Dead, saturated and dormant units"
    if not scores:
        return say_absent(ax, title, "no layer is followed by an activation")
    frame(ax, title=title, x="units of the layer, over its width")
    marked = {kind: found(analysis, f"extrema_{kind}") for kind, _, _ in _STATES}
    for row, (name, score) in enumerate(scores.items()):
        ax.barh(row, 1.0, 0.8, color=PALE, lw=0, zorder=0)
        taken: set[int] = set()
        counts = []
        for kind, colour, reach in _STATES:
            chosen = [unit for unit in marked[kind][name] if unit not in taken]
            taken |= set(chosen)
            counts += [f"{len(chosen)} {kind}"] if chosen else []
            _cells(ax, row, (chosen, len(score)), colour=colour, reach=reach)
        beside(ax, row, f"{', '.join(counts) or 'all alive'} of {len(score):,}")
    name_rows(ax, list(scores))
    ax.set_xlim(0, 1)
    ax.spines[:].set_visible(False)
    _explain_states(ax)
    return ax


def _cells(ax: Axes, row: int, units: tuple[list[int], int], *, colour: str, reach: float) -> None:
    """Marks units of a row; each at least as wide as the eye can see."""
    chosen, width = units
    if not chosen:
        return
    seen = max(1 / width, 0.004)
    lefts = (np.array(chosen) + 0.5) / width - seen / 2
    ax.barh([row] * len(chosen), seen * 0.92, 2 * reach, left=lefts, color=colour, lw=0)


def _explain_states(ax: Axes) -> None:
    from matplotlib.patches import Patch

    words = {"dormant": "dormant (short mark)"}
    handles = [Patch(color=colour, label=words.get(kind, kind)) for kind, colour, _ in _STATES]
    key(ax, [*handles, Patch(color=PALE, label="alive")])


def plot_coactivation(
    analysis: Analysis, ax: Axes | None = None, *, layer: str | None = None
) -> Axes:
    """How the units of a layer correlate; like ones stand side by side, redundant pairs are ringed.

    Units that do not vary correlate with nothing and are grey.

    Args:
        analysis: Of `HebbianAnalyzer`.
        ax: Where to draw; a new figure if None.
        layer: Its name; the first one with a matrix if None.

    Raises:
        MissingAnalysisError: A key is absent, or there is no such layer.
    """
    ax = new_axes(ax, width=5.6, height=5.0)
    name, matrix = of_layer(analysis, "hebbian_correlation", layer)
    title = f"Which units of {short(name)} fire together"
    if isinstance(matrix, Unavailable):
        return say_absent(ax, title, matrix)
    if bool(matrix.diagonal().isnan().all()):
        return say_absent(ax, title, "no unit of the layer varies")
    frame(ax, title=title, x="unit, like ones side by side", y="unit")
    order = _by_likeness(matrix)
    from matplotlib import colormaps

    scale = colormaps["PuOr"].with_extremes(bad=PALE)
    values = np.ma.masked_invalid(matrix[order][:, order].numpy())
    image = ax.imshow(values, vmin=-1, vmax=1, cmap=scale, interpolation="nearest")
    _name_units(ax, order)
    _ring(ax, analysis, name, order)
    ax.spines[:].set_visible(False)
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.75, ticks=[-1, 0, 1])
    bar.ax.set_yticklabels(["-1 opposite", "0", "1 alike"], fontsize=SMALL, color=INK)
    bar.outline.set_visible(False)
    return ax


def _by_likeness(matrix: Tensor) -> Tensor:
    """The units in the order in which average linkage joins them; the silent ones at the end."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    alive = torch.nonzero(~matrix.diagonal().isnan()).flatten()
    silent = torch.nonzero(matrix.diagonal().isnan()).flatten()
    if len(alive) < 3:
        return torch.cat([alive, silent])
    apart = (1 - matrix[alive][:, alive].clamp(-1, 1)).double()
    apart = (apart + apart.T) / 2
    apart.fill_diagonal_(0)
    tree = linkage(squareform(apart.numpy(), checks=False), "average", optimal_ordering=True)
    return torch.cat([alive[torch.from_numpy(leaves_list(tree)).long()], silent])


def _name_units(ax: Axes, order: Tensor) -> None:
    """The units' numbers beside every few rows and below every few columns."""
    step = -(-len(order) // _MOST_NAMED * 2) if len(order) > _MOST_NAMED // 2 else 1
    places = range(0, len(order), max(step, 1))
    names = [str(int(order[place])) for place in places]
    ax.set_xticks(places, names, rotation=90, fontsize=SMALL - 1.5)
    ax.set_yticks(places, names, fontsize=SMALL - 1.5)
    ax.tick_params(length=0)


def _ring(ax: Axes, analysis: Analysis, layer: str, order: Tensor) -> None:
    """Rings around the pairs of which one unit could stand for both, the most alike first."""
    pairs = found(analysis, "hebbian_redundant").get(layer) or ()
    place = {int(unit): index for index, unit in enumerate(order)}
    for pair in pairs[:_MOST_RINGS]:
        one, two = place[pair.kept], place[pair.dropped]
        ax.scatter([one, two], [two, one], s=36, facecolors="none", edgecolors=GREEN, lw=1.3)
    if pairs:
        text = f"ringed: {len(pairs)} redundant pair{'s' if len(pairs) > 1 else ''}"
        ax.annotate(text, (1.0, 0.0), xycoords="axes fraction", xytext=(0, -34),
                    textcoords="offset points", ha="right", fontsize=SMALL, color=GREY)  # fmt: skip
