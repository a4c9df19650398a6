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
    name_columns,
    new_axes,
    say_absent,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_EDGES: Final = 1500
_FEW_EDGES: Final = 300
_LARGEST, _SMALLEST, _RIMLESS = 70.0, 6.0, 12.0


def plot_layered_graph(
    analysis: Analysis,
    ax: Axes | None = None,
    *,
    metric: str = "graph_path_shares",
    relative: bool = False,
) -> Axes:
    """The network as layers of units with its connections, the stronger the darker.

    Of many connections the strongest between any two layers are drawn. Strength is relative to the
    largest that enters the same layer.
    Units that ``metric`` says nothing of are hollow.

    Args:
        analysis: Of `GraphAnalyzer`, and of whoever provides ``metric``.
        ax: Where to draw; a new figure if None.
        metric: A key of one value per unit, by layer, such as ``"graph_betweenness"``,
            ``"extrema_dormancy"`` or ``"sensitivity_unit_taylor"``.
        relative: Whether each value is taken over the largest of its layer, so that the units of
            one layer tell apart where the layers differ much.

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
    if bool(colours.isnan().all()):
        return say_absent(ax, title, "none of the layers that it tells of is in the graph")
    frame(ax, title=title)
    places = _places(graph)
    drawn = _draw_edges(ax, graph, places)
    bar = _draw_units(ax, graph, places, _over_largest(graph, colours) if relative else colours)
    if relative:
        bar.set_label("over the largest of the layer", fontsize=SMALL, color=GREY)
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
    measured = values.values() if isinstance(values, Mapping) else ()
    if not any(isinstance(one, Tensor) and one.dim() == 1 for one in measured):
        raise ValueError(
            f"{metric!r} holds no value per unit of any layer. Name a key such as"
            " 'graph_betweenness', whose values have one entry for each unit."
        )
    return torch.cat(parts)


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
    chosen = _strongest(graph, strengths)
    ends = torch.stack([places[graph.tails[chosen]], places[graph.heads[chosen]]], 1)
    least, most = strengths[chosen].min(), strengths[chosen].max()
    apart = (
        (strengths[chosen] - least) / (most - least) if most > least else torch.ones(len(chosen))
    )
    faintest = 0.06 if len(chosen) > _FEW_EDGES else 0.2
    rgba = [(0.2, 0.2, 0.2, faintest + 0.5 * float(one) ** 2) for one in apart]
    ax.add_collection(LineCollection(list(ends.numpy()), colors=rgba, linewidths=0.7, zorder=1))
    return len(chosen)


def _strongest(graph: LayeredGraph, strengths: Tensor) -> Tensor:
    """The edges to draw, the weakest first: of many, equally many between any two layers."""
    if graph.edges <= _MOST_EDGES:
        return strengths.argsort()
    share = max(_MOST_EDGES // len(graph.blocks), 1)
    parts = []
    for block in graph.blocks:
        order = strengths[block.edges].argsort(descending=True)[:share]
        parts.append(block.edges[order])
    chosen = torch.cat(parts)
    return chosen[strengths[chosen].argsort()]


def _over_largest(graph: LayeredGraph, values: Tensor) -> Tensor:
    """Each value over the largest magnitude of its layer; of a layer of zeros as it is."""
    largest = [one.abs().nan_to_num(0.0).max() for one in values.split(list(graph.sizes))]
    scales = torch.stack(largest)[graph.depth]
    return torch.where(scales > 0, values / scales, values)


def _draw_units(ax: Axes, graph: LayeredGraph, places: Tensor, values: Tensor) -> Any:
    """Draws the units; returns the colour bar."""
    size = max(_SMALLEST, min(_LARGEST, 2600 / max(graph.sizes)))
    known = ~values.isnan()
    dark = places[~known]
    ax.scatter(dark[:, 0], dark[:, 1], s=size, facecolors="white", edgecolors=GREY,
               linewidths=0.6, zorder=2)  # fmt: skip
    seen = places[known]
    image = ax.scatter(seen[:, 0], seen[:, 1], s=size, c=values[known], cmap="viridis_r",
                       edgecolors=INK,
        linewidths=0.3 if size > _RIMLESS else 0.0,
        zorder=3)  # fmt: skip
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.7, pad=0.02)
    bar.ax.tick_params(labelsize=SMALL, colors=INK)
    bar.outline.set_visible(False)
    return bar


def _name_layers(ax: Axes, graph: LayeredGraph) -> None:
    notes = [f"{size:,} unit{'' if size == 1 else 's'}" for size in graph.sizes]
    name_columns(ax, graph.layers, notes)
    ax.set_xlim(-0.3, len(graph.sizes) - 0.7)
    ax.set_ylim(-0.02, 1.02)
    ax.set_yticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
