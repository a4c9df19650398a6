"""Diagrams, barcodes and curves show the numbers that they were given."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_rgba

from structure_net.evolution.components.analyzers import BettiCurve
from structure_net.evolution.metrics import CloudNull, PersistenceDiagrams, Unavailable
from structure_net.visualization import (
    plot_betti_curves,
    plot_persistence_barcode,
    plot_persistence_diagram,
)

COMPONENTS = torch.tensor([[0.0, math.inf], [0.0, 3.0], [0.0, 1.0]], dtype=torch.float64)
LOOPS = torch.tensor([[2.0, 4.0], [2.5, 3.0], [3.0, 3.25]], dtype=torch.float64)
BOUNDS = {0: 2.0, 1: 1.0}
FOUND: dict[str, Any] = {
    "topology_diagrams": {"fc": PersistenceDiagrams({0: COMPONENTS, 1: LOOPS}, 3, 9.0)},
    "topology_cloud_null": {
        "fc": CloudNull({k: torch.full((20,), v).double() for k, v in BOUNDS.items()})
    },
}


def marks(ax: Axes) -> dict[bool, set[tuple[float, float]]]:
    """The points of the diagram, by whether they are filled."""
    found: dict[bool, set[tuple[float, float]]] = {True: set(), False: set()}
    for one in ax.collections:
        if isinstance(one, PathCollection):
            offsets = np.asarray(one.get_offsets()).tolist()
            found[bool(len(one.get_facecolor()))] |= {(x, y) for x, y in offsets}
    return found


def test_a_mark_is_filled_if_it_lives_longer_than_chance() -> None:
    shown = marks(plot_persistence_diagram(FOUND))
    assert shown[True] == {(0.0, 3.0), (2.0, 4.0)}
    assert {(0.0, 1.0), (2.5, 3.0), (3.0, 3.25)} < shown[False]


def test_what_never_dies_stands_on_the_line_above_all_deaths() -> None:
    shown = marks(plot_persistence_diagram(FOUND))
    (top,) = shown[False] - {(0.0, 1.0), (2.5, 3.0), (3.0, 3.25)}
    assert top[0] == 0.0
    assert top[1] > 4.0


def test_the_band_of_chance_is_as_high_as_the_bound_at_every_birth() -> None:
    bands = [
        one.get_paths()[0].vertices
        for one in plot_persistence_diagram(FOUND).collections
        if not isinstance(one, PathCollection)
    ]
    loops = bands[1]
    end = float(loops[:, 1].max())
    upper = {tuple(corner) for corner in loops.tolist()}
    assert {(0.0, 0.0), (0.0, BOUNDS[1]), (end - BOUNDS[1], end), (end, end)} <= upper


def test_without_a_null_nothing_is_said_of_chance() -> None:
    found = FOUND | {"topology_cloud_null": {"fc": Unavailable("too few samples")}}
    legend = plot_persistence_diagram(found).get_legend()
    assert legend is not None
    assert all("chance" not in text.get_text() for text in legend.get_texts())


def test_of_a_bar_what_goes_beyond_chance_is_in_full_colour() -> None:
    lanes = [
        x for x in plot_persistence_barcode(FOUND).collections if isinstance(x, LineCollection)
    ]
    pale, full = lanes[2].get_segments(), lanes[3].get_segments()
    assert [tuple(bar[:, 0]) for bar in pale] == [(2.0, 3.0), (2.5, 3.0), (3.0, 3.25)]
    assert [tuple(bar[:, 0]) for bar in full] == [(3.0, 4.0), (3.0, 3.0), (3.25, 3.25)]


def test_very_many_bars_are_cut_and_counted() -> None:
    bars = torch.stack([torch.zeros(90), torch.arange(90, 0, -1)], 1).double()
    found = FOUND | {"topology_diagrams": {"fc": PersistenceDiagrams({0: bars}, 90, 90.0)}}
    ax = plot_persistence_barcode(found)
    assert "90 components, the longest 24" in [text.get_text() for text in ax.texts]
    assert sum(len(x.get_segments()) for x in ax.collections if isinstance(x, LineCollection)) == 48


def curve(counts: list[int]) -> BettiCurve:
    return BettiCurve(torch.linspace(0, 8, len(counts)).double(), {1: torch.tensor(counts)})


def test_curves_share_one_height_and_tell_their_peaks() -> None:
    found = {"topology_betti_curves": {"a": curve([0, 4, 0]), "b": curve([0, 2, 0])}}
    ax = plot_betti_curves(found)
    heights = [
        np.ptp(np.asarray(line.get_ydata()))
        for line in ax.get_lines()
        if len(np.asarray(line.get_ydata())) == 3
    ]
    assert heights[0] == pytest.approx(2 * heights[1])
    assert [text.get_text() for text in ax.texts] == ["at most 4", "at most 2"]


def test_a_layer_without_a_curve_keeps_its_row() -> None:
    found = {"topology_betti_curves": {"a": curve([0, 1, 0]), "b": Unavailable("too few samples")}}
    ax = plot_betti_curves(found)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert "not available" in [text.get_text() for text in ax.texts]


def test_a_dimension_that_was_not_looked_for_is_refused() -> None:
    with pytest.raises(ValueError, match=r"The curves have dimensions \[1\]; got 2"):
        plot_betti_curves({"topology_betti_curves": {"a": curve([0, 1, 0])}}, dimension=2)


def test_components_and_loops_differ_in_colour_and_in_shape() -> None:
    ax = plot_persistence_diagram(FOUND)
    looks = {
        (tuple(one.get_edgecolor()[0]), len(one.get_paths()[0].vertices))
        for one in ax.collections
        if isinstance(one, PathCollection) and len(one.get_offsets())
    }
    assert len({colour for colour, _ in looks}) == len({shape for _, shape in looks}) == 2
    assert to_rgba("#0072B2") in {colour for colour, _ in looks}
