"""Layers side by side: where the network is narrow, how gradients flow, who would act where."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from structure_net.evolution.metrics.validity import Unavailable
from structure_net.surgery.journal import Journal
from structure_net.visualization.canvas import (
    BLUE,
    GREY,
    INK,
    PALE,
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
    number,
    numbers,
    say_absent,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_NAMED: Final = 9
_MOST_SCORED: Final = 16
_END: Final = "_ranking"


def plot_bottlenecks(
    analysis: Analysis, ax: Axes | None = None, *, journal: Journal | None = None
) -> Axes:
    """Each layer's width, the directions that it uses of it, and the width that would lift it.

    Beside the bars stand the layer's dead and saturated units, where the analysis tells them.

    Args:
        analysis: Of `SimpleInformationFlowAnalyzer` and `NetworkStatsAnalyzer`.
        ax: Where to draw; a new figure if None.
        journal: Of the network: the iterations in which a layer grew are marked.

    Raises:
        MissingAnalysisError: A key is absent.
    """
    ranks = found(analysis, "information_effective_rank")
    layers = found(analysis, "network_layers")
    narrow = found(analysis, "information_bottlenecks")
    rows = [name for name in ranks if name in layers]
    ax = new_axes(ax, width=8.0, height=1.9 + 0.5 * max(len(rows), 2))
    title = "Where the network is narrow"
    if not rows:
        return say_absent(ax, title, "no layer's values belong to single samples")
    frame(ax, title=title, x="units, and directions that they span (effective rank)", grid="x")
    marks = _growth(journal)
    for row, name in enumerate(rows):
        width = _width(analysis, name)
        ax.barh(row, width, 0.66, color=PALE, lw=0, label="" if row else "width")
        said = f"{_rank_bar(ax, row, ranks[name])} of {width:,}"
        if name in narrow:
            _wanted(ax, row, width, narrow[name].width)
            said += f"; {narrow[name].width:,} units would do"
        beside(ax, row - 0.16, said)
        beside(ax, row + 0.2, _notes(analysis, name, marks.get(name, ())), colour=GREY)
    name_rows(ax, rows)
    ax.set_xlim(left=0)
    _explain(ax, bool(narrow))
    return ax


def _width(analysis: Analysis, layer: str) -> int:
    """How many units a layer has: as a bottleneck, in the graph, or else by its weight's rows."""
    narrow = found(analysis, "information_bottlenecks")
    if layer in narrow:
        return int(narrow[layer].units)
    units = (found(analysis, "graph_units") if "graph_units" in analysis else None) or {}
    return int(units.get(layer, found(analysis, "network_layers")[layer]["outputs"]))


def _rank_bar(ax: Axes, row: int, rank: Any) -> str:
    if isinstance(rank, Unavailable):
        return "rank not available"
    ax.barh(row, rank, 0.34, color=BLUE, lw=0)
    return f"rank {rank:.1f}"


def _wanted(ax: Axes, row: int, width: int, wanted: int) -> None:
    ax.barh(row, wanted - width, 0.66, left=width, facecolor="none", edgecolor=VERMILLION,
            hatch="////", lw=1.0)  # fmt: skip


def _notes(analysis: Analysis, layer: str, grown: Sequence[int]) -> str:
    """What else is known of a layer: dead and saturated units, and when it grew."""
    parts = []
    for kind in ("dead", "saturated"):
        ratios = found(analysis, one) if (one := f"extrema_{kind}_ratio") in analysis else {}
        if ratios.get(layer):
            parts.append(f"{ratios[layer]:.0%} {kind}")
    if grown:
        parts.append(f"▲ edited in iteration {_ranges(grown)}")
    return " · ".join(parts)


def _ranges(steps: Sequence[int]) -> str:
    """Iterations as people count them, runs of three and more joined: ``1-4, 7``."""
    runs: list[list[int]] = []
    for step in sorted(steps):
        if runs and step == runs[-1][-1] + 1:
            runs[-1].append(step)
        else:
            runs.append([step])
    return ", ".join(
        f"{run[0] + 1}-{run[-1] + 1}" if len(run) > 2 else ", ".join(str(step + 1) for step in run)
        for run in runs
    )


def _growth(journal: Journal | None) -> dict[str, list[int]]:
    """The iterations in which each layer was edited, by the layer's name."""
    marks: dict[str, list[int]] = {}
    for entry in () if journal is None else journal.edits:
        layer = getattr(entry.edit, "layer", None)
        if layer is not None and entry.iteration not in marks.setdefault(layer, []):
            marks[layer].append(entry.iteration)
    return marks


def _explain(ax: Axes, narrow: bool) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=PALE, label="width"), Patch(color=BLUE, label="effective rank")]
    if narrow:
        lifted: dict[str, Any] = {"facecolor": "none", "edgecolor": VERMILLION, "hatch": "////"}
        handles.append(Patch(label="width that would lift it to its neighbours", **lifted))
    key(ax, handles)


def plot_gradient_flow(analysis: Analysis, ax: Axes | None = None) -> Axes:
    """The norm of each layer's mean gradient, over the noise that a batch adds to it.

    Args:
        analysis: Of `GradientAnalyzer`.
        ax: Where to draw; a new figure if None.

    Raises:
        MissingAnalysisError: A key is absent.
    """
    norms = found(analysis, "gradient_norm")
    variances, size = found(analysis, "gradient_variance"), found(analysis, "gradient_batch_size")
    ax = new_axes(ax)
    title = "How gradients flow through the layers"
    if not any(norm > 0 for norm in norms.values()):
        return say_absent(ax, title, "no gradient reaches any parameter")
    frame(ax, title=title, y="norm of the gradient, loss per weight", grid="y")
    ax.set_yscale("log")
    names = list(norms)
    noise = {n: (float(v) / size) ** 0.5 for n, v in variances.items() if numbers([v])}
    _series(ax, names, norms, style="-", marker="o", colour=BLUE, label="mean over the batches")
    _series(ax, names, noise, style="--", marker="s", colour=VERMILLION,
            label=f"noise of one batch of {size:.0f}")  # fmt: skip
    _ratios(ax, names, found(analysis, "gradient_signal_to_noise"), norms)
    name_columns(ax, names)
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.margins(y=0.18)
    key(ax, columns=2)
    return ax


def _series(ax: Axes, names: Sequence[str], values: Mapping[str, float], **looks: Any) -> None:
    drawn = [(place, values[n]) for place, n in enumerate(names) if values.get(n, 0) > 0]
    if drawn:
        places, heights = zip(*drawn, strict=True)
        ax.plot(places, heights, looks["style"], marker=looks["marker"], color=looks["colour"],
                label=looks["label"], lw=1.6, markersize=6)  # fmt: skip


def _ratios(
    ax: Axes, names: Sequence[str], ratios: Mapping[str, Any], norms: Mapping[str, float]
) -> None:
    """Writes the signal-to-noise ratio at the foot of each layer, where there is room for it."""
    if len(names) > _MOST_NAMED:
        return
    for place, name in enumerate(names):
        ratio = ratios.get(name)
        said = "only noise" if isinstance(ratio, Unavailable) else f"S/N {number(ratio or 0.0)}"
        if norms[name] > 0:
            ax.text(place, 0.02, said, ha="center", fontsize=SMALL, color=GREY,
                    transform=ax.get_xaxis_transform())  # fmt: skip


def plot_rankings(analysis: Analysis, ax: Axes | None = None) -> Axes:
    """Where each analyzer would act first: its order of the layers, 1 for the first.

    Two analyzers need not agree: each ranks by a score of its own, which its table of keys
    explains.

    Args:
        analysis: Of any analyzers; each ``..._ranking`` is a column.
        ax: Where to draw; a new figure if None.

    Raises:
        MissingAnalysisError: No analyzer ranks the layers.
    """
    keys = [one for one in analysis if one.endswith(_END)]
    if not keys:
        found(analysis, f"extrema{_END}")
    rankings = {one.removesuffix(_END): _scored(found(analysis, one)) for one in keys}
    absent = [name for name, one in rankings.items() if not one]
    rankings = {name: one for name, one in rankings.items() if one}
    layers = _in_order(analysis, [layer for one in rankings.values() for layer in one])
    scored = len(layers) <= _MOST_SCORED
    height = 1.6 + (0.6 if scored else 0.34) * len(layers)
    ax = new_axes(ax, width=2.2 + 0.85 * max(len(rankings), 4), height=height)
    title = "Where to act first, by analyzer"
    if not rankings:
        return say_absent(ax, title, "no analyzer ranks any layer")
    frame(ax, title=title)
    for column, ranking in enumerate(rankings.values()):
        _votes(ax, column, ranking, layers=layers, scored=scored)
    name_rows(ax, layers)
    ax.set_xticks(range(len(rankings)), list(rankings), rotation=35, ha="right",
                  rotation_mode="anchor")  # fmt: skip
    ax.set_xlim(-0.5, len(rankings) - 0.5)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    if absent:
        words = textwrap.fill(f"no order by: {', '.join(absent)}", 13 * max(len(rankings), 4))
        ax.set_xlabel(words, fontsize=SMALL, color=GREY)
    return ax


def _scored(ranking: Mapping[str, Any] | None) -> dict[str, float]:
    """A ranking without the layers that have no score."""
    pairs = ranking.items() if ranking else ()
    return {layer: score for layer, score in pairs if not isinstance(score, Unavailable)}


def _in_order(analysis: Analysis, layers: Sequence[str]) -> list[str]:
    """The layers in the order of execution, as far as the analysis tells it."""
    known: list[str] = []
    for value in ("graph_units", "network_layers", "information_effective_rank", "extrema_ratio"):
        known += (found(analysis, value) or ()) if value in analysis else ()
    ordered = dict.fromkeys([*known, *layers])
    return [name for name in ordered if name in set(layers)]


def _votes(
    ax: Axes,
    column: int,
    ranking: Mapping[str, float],
    *,
    layers: Sequence[str],
    scored: bool,
) -> None:
    """One column: places from 1, the first one filled, the score below where there is room.

    Equal scores share a place; where all are equal, the analyzer prefers none.
    """
    middle: dict[str, Any] = {"ha": "center", "va": "center"}
    scores = list(ranking.values())
    undecided = len(scores) > 1 and len(set(scores)) == 1
    for layer, score in ranking.items():
        row, place = layers.index(layer), scores.index(score) + 1
        first = place == 1 and not undecided
        ax.barh(row, 0.86, 0.86, left=column - 0.43, color=BLUE if first else PALE, lw=0)
        said = "=" if undecided else str(place)
        ax.text(column, row - 0.14 * scored, said, fontsize=SMALL + 3, fontweight="bold",
                color="white" if first else INK, **middle)  # fmt: skip
        if not scored:
            continue
        ax.text(column, row + 0.24, number(score), fontsize=SMALL - 1.5,
                color="white" if first else INK, **middle)  # fmt: skip
