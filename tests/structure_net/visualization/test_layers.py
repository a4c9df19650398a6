from __future__ import annotations

from typing import Any

import pytest

from structure_net.evolution.metrics import Bottleneck, Unavailable
from structure_net.surgery import AddNeurons, EditEntry, Journal
from structure_net.visualization import plot_bottlenecks, plot_gradient_flow, plot_rankings

NARROW: dict[str, Any] = {
    "information_effective_rank": {"a": 8.0, "b": 2.0, "c": Unavailable("it does not vary")},
    "information_bottlenecks": {
        "b": Bottleneck("b", effective_rank=2.0, target_rank=4.0, units=10, width=20)
    },
    "network_layers": {
        name: {"outputs": width} for name, width in (("a", 16), ("b", 10), ("c", 4))
    },
    "extrema_dead_ratio": {"a": 0.25, "b": 0.0},
}
GRADIENTS: dict[str, Any] = {
    "gradient_norm": {"a": 1e-3, "b": 2.0},
    "gradient_variance": {"a": 64.0, "b": Unavailable("one batch")},
    "gradient_signal_to_noise": {"a": 1e-3, "b": Unavailable("one batch")},
    "gradient_batch_size": 64.0,
}


def widths(ax: Any) -> list[tuple[float, float]]:
    return [(round(bar.get_x(), 9), round(bar.get_width(), 9)) for bar in ax.patches]


def said(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_bars_show_widths_ranks_and_the_width_that_would_do() -> None:
    assert widths(plot_bottlenecks(NARROW)) == [
        (0, 16), (0, 8),  # a: its width, its rank
        (0, 10), (0, 2), (10, 10),  # b: and ten more units
        (0, 4),  # c: its width alone
    ]  # fmt: skip


def test_a_rank_that_is_not_there_is_said_to_be_absent() -> None:
    words = said(plot_bottlenecks(NARROW))
    assert "rank not available of 4" in words
    assert "rank 2.0 of 10; 20 units would do" in words
    assert "25% dead" in words


def test_the_iterations_of_a_layers_edits_stand_beside_it() -> None:
    journal = Journal([EditEntry(AddNeurons("b", 1), step) for step in (0, 1, 1, 2, 5)])
    words = said(plot_bottlenecks(NARROW, journal=journal))
    assert "▲ edited in iteration 1-3, 6" in words
    assert sum("edited" in text for text in words) == 1


def test_gradients_are_drawn_on_a_scale_of_orders() -> None:
    ax = plot_gradient_flow(GRADIENTS)
    mean, noise = ax.get_lines()
    assert ax.get_yscale() == "log"
    assert list(mean.get_ydata()) == [1e-3, 2.0]
    assert list(noise.get_ydata()) == [1.0]
    assert list(noise.get_xdata()) == [0]


def test_a_gradient_that_cannot_be_told_from_noise_is_said_to_be_noise() -> None:
    assert said(plot_gradient_flow(GRADIENTS)) == ["S/N 0.001", "only noise"]


def test_without_any_gradient_the_picture_says_so() -> None:
    found = GRADIENTS | {"gradient_norm": {"a": 0.0}}
    assert "no gradient reaches" in said(plot_gradient_flow(found))[0]


def test_each_analyzers_order_is_a_column_of_places() -> None:
    found = {
        "one_ranking": {"b": 3.0, "a": 1.0},
        "two_ranking": {"a": 0.5},
        "three_ranking": Unavailable("no graph"),
    }
    ax = plot_rankings(found)
    places = {
        (text.get_position()[0], round(float(text.get_position()[1]) + 0.14)): text.get_text()
        for text in ax.texts
        if text.get_text() in {"1", "2"} and text.get_fontweight() == "bold"
    }
    rows = [label.get_text() for label in ax.get_yticklabels()]
    assert rows == ["b", "a"]
    assert places == {(0, 0): "1", (0, 1): "2", (1, 1): "1"}
    assert ax.get_xlabel() == "no order by: three"


def test_equal_scores_share_a_place_and_all_equal_ones_have_none() -> None:
    found = {"one_ranking": {"a": 3.0, "b": 1.0, "c": 1.0}, "two_ranking": {"a": 0.0, "b": 0.0}}
    bold = [text for text in plot_rankings(found).texts if text.get_fontweight() == "bold"]
    assert [text.get_text() for text in bold] == ["1", "2", "2", "=", "="]


def test_layers_are_ranked_in_the_order_in_which_they_run() -> None:
    found = {"one_ranking": {"b": 3.0, "a": 1.0}, "network_layers": {"a": {}, "b": {}, "c": {}}}
    rows = [label.get_text() for label in plot_rankings(found).get_yticklabels()]
    assert rows == ["a", "b"]


def test_layers_without_a_score_are_not_ranked() -> None:
    found = {"one_ranking": {"b": 3.0, "a": Unavailable("no place")}}
    rows = [label.get_text() for label in plot_rankings(found).get_yticklabels()]
    assert rows == ["b"]


def test_analyzers_that_rank_nothing_are_named() -> None:
    assert "no analyzer ranks any layer" in said(plot_rankings({"one_ranking": {}}))[0]


@pytest.mark.parametrize("layers", [1, 60])
def test_few_and_many_layers_fit(layers: int) -> None:
    names = [f"features.block{index}.conv" for index in range(layers)]
    found = {
        "gradient_norm": dict.fromkeys(names, 1.0),
        "gradient_variance": dict.fromkeys(names, 1.0),
        "gradient_signal_to_noise": dict.fromkeys(names, 1.0),
        "gradient_batch_size": 8.0,
    }
    ax = plot_gradient_flow(found)
    ax.get_figure(root=True).canvas.draw()  # type: ignore[union-attr]
    assert all(len(list(line.get_xdata())) == layers for line in ax.get_lines())
    assert 1 <= len(ax.get_xticklabels()) <= 20
