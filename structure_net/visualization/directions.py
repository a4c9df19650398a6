"""What becomes of directions on their way through the layers, and how weights hang together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from structure_net.evolution.metrics.maps import MapBarcode
from structure_net.evolution.metrics.validity import Unavailable
from structure_net.visualization.canvas import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    INK,
    SMALL,
    VERMILLION,
    Analysis,
    beside,
    found,
    frame,
    key,
    name_columns,
    name_rows,
    new_axes,
    say_absent,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_THROUGH, _LOST, _NEW, _NEITHER = (BLUE, VERMILLION, GREEN, GREY)
_THINNEST: Final = 0.045
_GAP: Final = 0.012
_SHORTEST: Final = 0.05


def plot_map_barcode(analysis: Analysis, ax: Axes | None = None, *, chain: int = 0) -> Axes:
    """Which directions live from which layer to which: one bar for all that share their ends.

    A bar's height is their number, which it carries; very few are drawn a little higher than that.

    Args:
        analysis: Of `HomologicalAnalyzer`.
        ax: Where to draw; a new figure if None.
        chain: Which of the network's chains of layers; a plain network has one.

    Raises:
        MissingAnalysisError: The key is absent.
        ValueError: There is no such chain.
    """
    chains = found(analysis, "homology_barcodes")
    title = "Which directions live through which layers"
    ax = new_axes(ax, height=4.6)
    if not chains:
        return say_absent(ax, title, "no layers follow each other, or none could be linked")
    if not 0 <= chain < len(chains):
        raise ValueError(f"The network has {len(chains)} chains of layers, from 0; got {chain}.")
    one = chains[chain]
    if len(chains) > 1:
        title += f" (chain {chain + 1} of {len(chains)})"
    if not isinstance(one.barcode, MapBarcode):
        return say_absent(ax, title, one.barcode)
    frame(ax, title=title)
    _draw_bars(ax, one.barcode)
    _name_spaces(ax, (one.source, *one.layers), one.barcode.dimensions)
    _explain(ax)
    return ax


def _draw_bars(ax: Axes, barcode: MapBarcode) -> None:
    last = len(barcode.dimensions) - 1
    # Long lives first, so that what runs through lies below and the short ones stand on it.
    order = sorted(barcode.bars.items(), key=lambda bar: (bar[0][0] - bar[0][1], bar[0]))
    total = sum(barcode.bars.values())
    level = 0.0
    for (first, end), count in order:
        height = max(count / total, _THINNEST)
        colour = _colour(first, end, last)
        ax.barh(level, end - first + 0.5, height, left=first - 0.25, align="edge", color=colour,
                lw=0, alpha=0.9)  # fmt: skip
        _number(ax, count, (first, end, last), level + height / 2)
        level += height + _GAP
    ax.set_ylim(-0.02, level)


def _number(ax: Axes, count: int, span: tuple[int, int, int], level: float) -> None:
    """A bar's number: inside it, or to its right where it is too short."""
    first, end, last = span
    short_bar = (end - first + 0.5) / (last + 1) < _SHORTEST
    place = end + 0.3 if short_bar else (first + end) / 2
    ax.text(place, level, f"{count:,}", ha="left" if short_bar else "center", va="center",
            fontsize=SMALL, color=INK if short_bar else "white", fontweight="bold")  # fmt: skip


def _colour(first: int, end: int, last: int) -> str:
    if first == 0:
        return _THROUGH if end == last else _LOST
    return _NEW if end == last else _NEITHER


def _name_spaces(ax: Axes, names: tuple[str, ...], dimensions: tuple[int, ...]) -> None:
    rows = range(len(names))
    name_columns(ax, names, [f"{one:,} wide" for one in dimensions])
    ax.set_xlim(-0.4, len(rows) - 0.6)
    for place in rows:
        ax.axvline(place, color=FAINT, lw=0.8, zorder=0)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="x", length=0)


def _explain(ax: Axes) -> None:
    from matplotlib.patches import Patch

    words = {
        _THROUGH: "from input to output",
        _LOST: "of the input, lost on the way",
        _NEW: "no input makes it, the output reads it",
        _NEITHER: "neither made nor read",
    }
    key(ax, [Patch(color=colour, label=text) for colour, text in words.items()], columns=2)


def plot_neural_persistence(analysis: Analysis, ax: Axes | None = None) -> Axes:
    """Each layer's neural persistence beside that of its own weights in shuffled places.

    The band holds the middle 95 % of the shuffles; a mark outside says that the places of the
    weights matter, and the number of deviations says how much.

    Args:
        analysis: Of `TopologicalAnalyzer`.
        ax: Where to draw; a new figure if None.

    Raises:
        MissingAnalysisError: The key is absent.
    """
    nulls = found(analysis, "topology_null")
    ax = new_axes(ax, height=1.7 + 0.42 * max(len(nulls), 2))
    title = "Neural persistence of the weights"
    if not any(not isinstance(one, Unavailable) for one in nulls.values()):
        return say_absent(ax, title, next(iter(nulls.values()), "no layer has weights"))
    frame(ax, title=title, x="neural persistence, over the root of the units less 1", grid="x")
    name_rows(ax, list(nulls))
    for row, one in enumerate(nulls.values()):
        if isinstance(one, Unavailable):
            beside(ax, row, f"not available: {one.reason:.40}", colour=GREY)
            continue
        low, high = (float(one.shuffled.quantile(q)) for q in (0.025, 0.975))
        ax.barh(row, high - low, 0.5, left=low, color=GREY, alpha=0.35, lw=0,
                label="" if row else "shuffled weights, 95 %")  # fmt: skip
        ax.plot([one.mean] * 2, [row - 0.25, row + 0.25], color=GREY, lw=1.5)
        ax.plot(
            [one.value], [row], "D", color=BLUE, markersize=6, label="" if row else "as trained"
        )
        said = "as shuffled" if isinstance(one.z, Unavailable) else f"{one.z:+.1f} deviations"
        beside(ax, row, said, colour=INK)
    _margins(ax)
    key(ax)
    return ax


def _margins(ax: Axes) -> None:
    low, high = ax.get_xlim()
    room = 0.04 * (high - low)
    ax.set_xlim(low - room, high + room)
