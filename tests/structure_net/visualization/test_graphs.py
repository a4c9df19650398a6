from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection, PathCollection

from structure_net.evolution.metrics import LayeredGraph
from structure_net.visualization import plot_layered_graph

GRAPH = LayeredGraph.chain([torch.tensor([[1.0, 0.0], [2.0, 4.0], [0.0, 0.5]]), torch.ones(1, 3)])
SHARES = {"0": torch.tensor([0.25, 0.75]), "1": torch.tensor([0.1, 0.6, 0.3])}
FOUND: dict[str, Any] = {"graph_network": GRAPH, "graph_path_shares": SHARES}


def lines(ax: Any) -> LineCollection:
    (found,) = [one for one in ax.collections if isinstance(one, LineCollection)]
    return found


def dots(ax: Any) -> tuple[PathCollection, PathCollection]:
    hollow, filled = [one for one in ax.collections if isinstance(one, PathCollection)]
    return hollow, filled


def test_every_connection_joins_its_two_units() -> None:
    segments = np.asarray(lines(plot_layered_graph(FOUND)).get_segments())
    assert len(segments) == GRAPH.edges
    ends = {(int(a[0]), int(b[0])) for a, b in segments}
    assert ends == {(0, 1), (1, 2)}


def test_units_carry_the_colour_of_their_value_and_are_hollow_without_one() -> None:
    hollow, filled = dots(plot_layered_graph(FOUND))
    values = filled.get_array()
    assert values is not None
    assert np.asarray(values).tolist() == pytest.approx([0.25, 0.75, 0.1, 0.6, 0.3])
    assert len(np.asarray(hollow.get_offsets())) == 1


def test_of_many_connections_the_strongest_are_drawn_and_the_others_counted() -> None:
    weights = torch.arange(1, 2501, dtype=torch.float64).reshape(50, 50)
    graph = LayeredGraph.chain([weights])
    found = {"graph_network": graph, "graph_path_shares": {"0": torch.ones(50)}}
    ax = plot_layered_graph(found)
    assert len(lines(ax).get_segments()) == 1500
    assert ax.get_xlabel() == "the strongest 1,500 of 2,500 connections"


def test_a_stronger_connection_is_darker() -> None:
    colours = np.asarray(lines(plot_layered_graph(FOUND)).get_colors())
    assert (np.diff(colours[:, 3]) >= 0).all()


@pytest.mark.parametrize(
    "metric",
    ["graph_betweenness", "extrema_dormancy", "sensitivity_unit_taylor", "hebbian_activity"],
)
def test_any_measure_of_units_colours_the_graph(metric: str, analysis: Mapping[str, Any]) -> None:
    ax = plot_layered_graph(analysis, metric=metric)
    _, filled = dots(ax)
    values = filled.get_array()
    assert values is not None
    expected = sum(len(one) for one in analysis[metric].values())
    assert len(np.asarray(values)) == expected
    assert metric.replace("_", " ") in ax.get_title(loc="left")


def test_a_measure_of_layers_is_refused(analysis: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError, match="'extrema_ratio' holds no value per unit"):
        plot_layered_graph(analysis, metric="extrema_ratio")


def test_a_measure_of_other_layers_says_so() -> None:
    found = FOUND | {"mine": {"elsewhere": torch.ones(3)}}
    ax = plot_layered_graph(found, metric="mine")
    assert "none of the layers" in " ".join(ax.texts[0].get_text().split())


def test_relative_values_are_over_the_largest_of_their_layer() -> None:
    _, filled = dots(plot_layered_graph(FOUND, relative=True))
    values = filled.get_array()
    assert values is not None
    assert np.asarray(values).tolist() == pytest.approx([1 / 3, 1.0, 1 / 6, 1.0, 0.5])
