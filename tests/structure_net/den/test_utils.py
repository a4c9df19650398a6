"""Pictures and summaries of networks that grew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from structure_net.den import DynamicExpandableNetwork
from structure_net.den.utils import (
    analyze_layer_importance,
    growth_summary,
    plot_training_history,
    print_growth_summary,
    visualize_network_architecture,
)


def history(*, accuracy: bool = False) -> dict[str, list[Any]]:
    event = {"epoch": 1, "type": "width", "layer_idx": 0, "num_neurons": 4, "reason": "no better"}
    pruned = {**event, "epoch": 2, "type": "prune", "num_neurons": 2, "reason": "hardly read"}
    return {
        "train_loss": [1.0, 0.5, 0.4],
        "val_loss": [1.1, None, 0.5],
        "train_accuracy": [0.5, 0.6, 0.7] if accuracy else [None] * 3,
        "val_accuracy": [None] * 3,
        "num_parameters": [10, 10, 20],
        "layer_sizes": [[4], [4], [8]],
        "timestamps": [1.5, 2.0, 4.5],
        "growth_events": [{**event, "layer_sizes": [8], "num_parameters": 20, "timestamp": 2.0}],
        "pruning_events": [{**pruned, "layer_sizes": [6], "num_parameters": 15, "timestamp": 4.5}],
    }


@pytest.mark.parametrize(("use_time", "places"), [(False, [1, 2, 3]), (True, [1.5, 2.0, 4.5])])
def test_the_picture_shows_the_losses_it_was_given(use_time: bool, places: list[float]) -> None:
    figure = plot_training_history(history(), use_time=use_time)
    loss, size = figure.axes
    train, held_out, *marks = loss.get_lines()
    assert list(train.get_xdata()) == places
    assert list(train.get_ydata()) == [1.0, 0.5, 0.4]
    assert list(held_out.get_xdata()) == [places[0], places[2]]
    assert [mark.get_xdata()[0] for mark in marks] == [places[1], places[2]]
    assert list(size.get_lines()[0].get_ydata()) == [10, 10, 20]


def test_accuracies_get_a_panel_where_there_are_some(tmp_path: Path) -> None:
    figure = plot_training_history(history(accuracy=True), save_path=tmp_path / "a.png")
    assert len(figure.axes) == 3
    assert (tmp_path / "a.png").stat().st_size > 0


def test_a_history_without_epochs_cannot_be_drawn() -> None:
    empty: dict[str, list[float]] = {name: [] for name in history()}
    with pytest.raises(ValueError, match="train first"):
        plot_training_history(empty)
    assert growth_summary(empty) == "No epoch was trained."


def test_the_summary_names_sizes_losses_and_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    print_growth_summary(history())
    said = capsys.readouterr().out
    assert said == growth_summary(history()) + "\n"
    for words in ("[4] -> [6]", "10 -> 15", "1 -> 0.4", "1 growth, 1 pruning", "no better"):
        assert words in said
    assert "after epoch 2: width +4 at layer 0" in said
    assert "after epoch 3: prune -2 at layer 0" in said


def test_the_picture_of_a_network_names_every_layer_s_units(tmp_path: Path) -> None:
    network = DynamicExpandableNetwork(4, 2, [8, 6], seed=0)
    network.expand_depth(1, 5)
    figure = visualize_network_architecture(network, save_path=tmp_path / "net.png")
    words = {text.get_text() for text in figure.axes[0].texts}
    assert {"4", "8", "5", "6", "2", "input", "layer 2", "output"} <= words
    assert (tmp_path / "net.png").stat().st_size > 0


def test_the_importance_of_layers_is_relative_to_the_largest() -> None:
    network = DynamicExpandableNetwork(4, 1, [2, 2], seed=0)
    with torch.no_grad():
        network.layers[1].get_parameter("weight").copy_(torch.tensor([[3.0, 0.0], [4.0, 1.0]]))
        network.output.weight.copy_(torch.tensor([[1.0, 0.5]]))
    # Units of 5 and 1, and of 1 and .5.
    found = analyze_layer_importance(network)
    assert found == pytest.approx({"layers.0": 1.0, "layers.1": 0.25})
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert analyze_layer_importance(network) == {"layers.0": 0.0, "layers.1": 0.0}
