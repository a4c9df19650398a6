from __future__ import annotations

from typing import Any

import pytest
import torch
from matplotlib.colors import to_hex

from structure_net.evolution.components.analyzers import ChainBarcode
from structure_net.evolution.metrics import MapBarcode, NullComparison, Unavailable, map_barcode
from structure_net.visualization import plot_map_barcode, plot_neural_persistence
from tests.structure_net.visualization.drawn import rectangles


def planted() -> MapBarcode:
    """Three spaces of 3, 4 and 2 dimensions: one direction runs through, one dies at the second."""
    first, second = torch.zeros(4, 3), torch.zeros(2, 4)
    first[0, 0] = first[1, 1] = second[0, 0] = 1.0
    second[1, 2] = 1.0
    found = map_barcode([first, second])
    assert isinstance(found, MapBarcode)
    return found


def chains(*barcodes: MapBarcode | Unavailable) -> dict[str, Any]:
    return {"homology_barcodes": tuple(ChainBarcode("x", ("fc1", "fc2"), one) for one in barcodes)}


def test_each_bar_spans_the_layers_that_its_directions_live_in() -> None:
    ax = plot_map_barcode(chains(planted()))
    spans = sorted(
        (round(bar.get_x() + 0.25), round(bar.get_x() + bar.get_width() - 0.25))
        for bar in rectangles(ax)
    )
    # Through; lost behind fc1; lost at once; new in fc1 and read; made by none, read by none.
    assert spans == sorted(planted().bars) == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2)]


def test_each_bar_carries_its_number() -> None:
    ax = plot_map_barcode(chains(planted()))
    assert sorted(int(text.get_text()) for text in ax.texts) == sorted(planted().bars.values())


def test_only_what_runs_through_is_blue() -> None:
    ax = plot_map_barcode(chains(planted()))
    blue = [bar for bar in rectangles(ax) if to_hex(bar.get_facecolor()) == "#0072b2"]
    assert [round(bar.get_width() - 0.5) for bar in blue] == [2]


def test_one_of_several_chains_is_named_in_the_title() -> None:
    two = chains(planted(), planted())
    assert "(chain 2 of 2)" in plot_map_barcode(two, chain=1).get_title(loc="left")
    with pytest.raises(ValueError, match="The network has 2 chains of layers, from 0; got 2"):
        plot_map_barcode(two, chain=2)


def test_a_network_without_a_chain_says_so() -> None:
    ax = plot_map_barcode({"homology_barcodes": ()})
    assert "no layers follow each other" in " ".join(ax.texts[0].get_text().split())


def test_the_band_holds_the_middle_of_the_shuffles_and_the_mark_the_value() -> None:
    shuffled = torch.linspace(0.4, 0.6, 201, dtype=torch.float64)
    nulls = {"fc": NullComparison(0.9, shuffled), "out": Unavailable("no weight")}
    ax = plot_neural_persistence({"topology_null": nulls})
    (band,) = rectangles(ax)
    assert band.get_x() == pytest.approx(0.405)
    assert band.get_x() + band.get_width() == pytest.approx(0.595)
    assert [0.9] in [list(line.get_xdata()) for line in ax.get_lines()]
    deviations = nulls["fc"]
    assert isinstance(deviations, NullComparison)
    said = [text.get_text() for text in ax.texts]
    assert said == [f"{float(deviations.z):+.1f} deviations", "not available: no weight"]


def test_a_layer_that_shuffling_does_not_change_is_said_to_be_as_shuffled() -> None:
    nulls = {"fc": NullComparison(0.5, torch.full((10,), 0.5, dtype=torch.float64))}
    ax = plot_neural_persistence({"topology_null": nulls})
    assert [text.get_text() for text in ax.texts] == ["as shuffled"]
