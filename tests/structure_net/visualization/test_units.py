from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from structure_net.evolution.metrics import RedundantPair, Unavailable
from structure_net.visualization import plot_coactivation, plot_extrema
from tests.structure_net.visualization.drawn import rectangles

EXTREMA: dict[str, Any] = {
    "extrema_dormancy": {"a": torch.ones(10), "b": torch.ones(2000)},
    "extrema_dead": {"a": (2,), "b": (0, 1999)},
    "extrema_saturated": {"a": (7,), "b": ()},
    "extrema_dormant": {"a": (2, 5), "b": ()},
}
MATRIX = torch.tensor(
    [
        [1.0, 0.0, 0.9, torch.nan],
        [0.0, 1.0, 0.1, torch.nan],
        [0.9, 0.1, 1.0, torch.nan],
        [torch.nan] * 4,
    ]
)
LIKE: dict[str, Any] = {
    "hebbian_correlation": {"a": MATRIX},
    "hebbian_redundant": {"a": (RedundantPair(0, 2, 0.9, 1.0, 0.1),)},
}


def cells(ax: Any, colour: str) -> list[tuple[int, float]]:
    """Rows and centres of the marks of a colour."""
    return [
        (round(bar.get_y() + bar.get_height() / 2), round(bar.get_x() + bar.get_width() / 2, 3))
        for bar in ax.patches
        if to_hex(bar.get_facecolor()) == colour.lower()
    ]


def test_every_dead_and_saturated_unit_is_marked_in_its_place() -> None:
    ax = plot_extrema(EXTREMA)
    assert sorted(cells(ax, "#D55E00"))[0] == (0, pytest.approx(0.25, abs=0.01))
    assert len(cells(ax, "#D55E00")) == 3
    assert cells(ax, "#0072B2") == [(0, pytest.approx(0.75, abs=0.01))]


def test_a_dead_unit_is_not_marked_as_dormant_as_well() -> None:
    assert cells(plot_extrema(EXTREMA), "#E69F00") == [(0, pytest.approx(0.55, abs=0.01))]


def test_one_dead_unit_of_thousands_is_wide_enough_to_be_seen() -> None:
    narrow = [
        bar.get_width()
        for bar in rectangles(plot_extrema(EXTREMA))
        if to_hex(bar.get_facecolor()) == "#d55e00"
    ]
    assert min(narrow) > 0.003


def test_counts_stand_beside_the_rows() -> None:
    words = [text.get_text() for text in plot_extrema(EXTREMA).texts]
    assert words == ["1 dead, 1 saturated, 1 dormant of 10", "2 dead of 2,000"]


def test_a_network_without_activations_says_so() -> None:
    found: dict[str, Any] = {key: {} for key in EXTREMA}
    assert "no layer is followed" in plot_extrema(found).texts[0].get_text()


def test_like_units_stand_side_by_side_and_silent_ones_last() -> None:
    ax = plot_coactivation(LIKE)
    order = [int(label.get_text()) for label in ax.get_xticklabels()]
    assert abs(order.index(0) - order.index(2)) == 1
    assert order[-1] == 3
    assert sorted(order) == [0, 1, 2, 3]


def test_a_correlation_that_is_not_there_is_drawn_as_none() -> None:
    (image,) = plot_coactivation(LIKE).images
    shown = image.get_array()
    assert shown is not None
    mask = np.ma.getmaskarray(shown)
    assert mask[-1].all()
    assert not mask[:3, :3].any()


def test_redundant_pairs_are_ringed_on_both_sides_of_the_diagonal() -> None:
    ax = plot_coactivation(LIKE)
    order = [int(label.get_text()) for label in ax.get_xticklabels()]
    one, two = order.index(0), order.index(2)
    (rings,) = ax.collections
    assert sorted(map(tuple, np.asarray(rings.get_offsets()))) == sorted([(one, two), (two, one)])
    assert "ringed: 1 redundant pair" in [text.get_text() for text in ax.texts]


def test_the_first_layer_with_a_matrix_is_drawn() -> None:
    found = LIKE | {"hebbian_correlation": {"z": Unavailable("too wide"), "a": MATRIX}}
    assert "units of a fire" in plot_coactivation(found).get_title(loc="left")


def test_a_layer_in_which_nothing_varies_says_so() -> None:
    found = LIKE | {"hebbian_correlation": {"a": torch.full((3, 3), torch.nan)}}
    assert "no unit of the layer varies" in plot_coactivation(found).texts[0].get_text()
