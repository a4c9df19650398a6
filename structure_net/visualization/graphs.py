"""The layered graph of a network, its units coloured by any measure of units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from structure_net.evolution.metrics.layered_graph import LayeredGraph
from structure_net.evolution.metrics.validity import Unavailable
from structure_net.visualization.canvas import (
    GREY,
    INK,
    SMALL,
    Analysis,
    found,
    frame,
    legible,
    new_axes,
    say_absent,
    short,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_EDGES: Final = 1500
_LARGEST, _SMALLEST = 70.0, 3.0


def plot_layered_graph(
    analysis: Analysis, ax: Axes | None = None, *, metric: str = "graph_path_shares"
) -> Axes:
    """The network as layers of units with its connections, the stronger the darker.

    Of many connections the strongest are drawn, each beside the largest that enters the same layer.
    Units that ``metric`` says nothing of are hollow.

    Args:
        analysis: Of `GraphAnalyzer`, and of whoever provides ``metric``.
        ax: Where to draw; a new figure if None.
        metric: A key of one value per unit, by layer, such as ``"graph_betweenness"``,
            ``"extrema_dormancy"`` or ``"sensitivity_unit_taylor"``.

    Raises:
        MissingAnalysisError: A key is absent.
        ValueError: The metric has no value per unit.
    """
    graph, values = found(analysis, "graph_network"), found(analysis, metric)
    ax = new_axes(ax, width=8.0, height=5.2)
    title = f"The units of the network by {metric.replace('_', ' ')}"
    for one in (graph, values):
        if isinstance(one, Unavailable):
            return say_absent(ax, title, one)
    colours = _values(graph, values, metric)
    frame(ax, title=title)
    places = _places(graph)
    drawn = _draw_edges(ax, graph, places)
    _draw_units(ax, graph, places, colours)
    _name_layers(ax, graph)
    if drawn < graph.edges:
        said = f"the strongest {drawn:,} of {graph.edges:,} connections"
        ax.set_xlabel(said, fontsize=SMALL, color=GREY)
    return ax


def _values(graph: LayeredGraph, values: Any, metric: str) -> Tensor:
    """One value for each vertex, NaN where there is none. Shape ``(V,)``."""
    parts = []
    for name, size in zip(graph.layers, graph.sizes, strict=True):
        one = values.get(name) if isinstance(values, Mapping) else None
        if isinstance(one, Tensor) and one.shape == (size,):
            parts.append(one.double())
        else:
            parts.append(torch.full((size,), torch.nan, dtype=torch.float64))
    joined = torch.cat(parts)
    if bool(joined.isnan().all()):
        raise ValueError(
            f"{metric!r} holds no value per unit of any layer of the graph. Name a key such as"
            " 'graph_betweenness', whose values have one entry for each unit."
        )
    return joined


def _places(graph: LayeredGraph) -> Tensor:
    """Where each unit stands: layers from left to right, units evenly from top to bottom."""
    heights = [
        (torch.arange(size, dtype=torch.float64) + 0.5) / size * _extent(size, max(graph.sizes))
        + (1 - _extent(size, max(graph.sizes))) / 2
        for size in graph.sizes
    ]
    return torch.stack([graph.depth.double(), 1 - torch.cat(heights)], 1)


def _extent(size: int, largest: int) -> float:
    """How much of the height a layer takes: small ones stand closer together than they could."""
    return float(0.35 + 0.65 * (size / largest) ** 0.5) if largest > 1 else 1.0


def _draw_edges(ax: Axes, graph: LayeredGraph, places: Tensor) -> int:
    from matplotlib.collections import LineCollection

    if not graph.edges:
        return 0
    strengths = graph.relative().weights
    chosen = strengths.argsort(descending=True)[:_MOST_EDGES].flip(0)
    ends = torch.stack([places[graph.tails[chosen]], places[graph.heads[chosen]]], 1)
    crowded = min(1.0, 400 / len(chosen)) ** 0.5
    shades = (0.06 + 0.6 * strengths[chosen] ** 2) * crowded
    rgba = [(0.2, 0.2, 0.2, float(shade)) for shade in shades]
    ax.add_collection(LineCollection(list(ends.numpy()), colors=rgba, linewidths=0.7, zorder=1))
    return len(chosen)


def _draw_units(ax: Axes, graph: LayeredGraph, places: Tensor, values: Tensor) -> None:
    size = max(_SMALLEST, min(_LARGEST, 2600 / max(graph.sizes)))
    known = ~values.isnan()
    dark = places[~known]
    ax.scatter(dark[:, 0], dark[:, 1], s=size, facecolors="white", edgecolors=GREY,
               linewidths=0.6, zorder=2)  # fmt: skip
    seen = places[known]
    image = ax.scatter(seen[:, 0], seen[:, 1], s=size, c=values[known], cmap="viridis_r",
                       edgecolors=INK, linewidths=0.3, zorder=3)  # fmt: skip
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.7, pad=0.02)
    bar.ax.tick_params(labelsize=SMALL, colors=INK)
    bar.outline.set_visible(False)


def _name_layers(ax: Axes, graph: LayeredGraph) -> None:
    names = [
        f"{short(name, 14)}\n{size:,} unit{'' if size == 1 else 's'}"
        for name, size in zip(graph.layers, graph.sizes, strict=True)
    ]
    turned: dict[str, Any] = (
        {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if len(names) > 8 else {}
    )
    ax.set_xticks(range(len(names)), [legible(name) for name in names], **turned)
    ax.set_xlim(-0.3, len(names) - 0.7)
    ax.set_ylim(-0.02, 1.02)
    ax.set_yticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
