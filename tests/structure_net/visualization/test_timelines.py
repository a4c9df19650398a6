from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from structure_net.errors import MissingAnalysisError
from structure_net.evolution.metrics import Unavailable
from structure_net.surgery import (
    AddConnections,
    AddNeurons,
    EditEntry,
    EventEntry,
    Journal,
    RemoveNeurons,
)
from structure_net.visualization import plot_lineage, plot_timeline

SERIES: dict[int, dict[str, Any]] = {
    0: {"rank": {"a": 1.0}},
    1: {"rank": {"a": 2.0, "b": 5.0}},
    2: {"rank": {"a": Unavailable("it does not vary"), "b": 7.0}},
}
START = {"layers": {"a": {"outputs": 16}, "b": {"outputs": 8}}}
JOURNAL = Journal(
    [
        EventEntry("start", detail=START),
        EditEntry(AddNeurons("a", 4), 0),
        EditEntry(AddConnections("a", ((0, 1), (0, 2))), 0),
        EditEntry(RemoveNeurons("b", (1,)), 2),
    ]
)


def test_each_row_is_a_layer_and_each_column_an_iteration() -> None:
    ax = plot_timeline(SERIES, measure="rank")
    (image,) = ax.images
    shown = image.get_array()
    assert shown is not None
    assert np.ma.filled(shown, -1.0).tolist() == [[1.0, 2.0, -1.0], [-1.0, 5.0, 7.0]]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2", "3"]


def test_a_value_that_is_not_there_is_a_dash() -> None:
    ax = plot_timeline(SERIES, measure="rank")
    at = {tuple(map(int, text.get_position())): text.get_text() for text in ax.texts}
    assert at[2, 0] == at[0, 1] == "-"
    assert at[1, 1] == "5"


def test_edits_are_marked_at_their_layer_and_iteration() -> None:
    (marks,) = plot_timeline(SERIES, measure="rank", journal=JOURNAL).get_lines()
    places = zip(marks.get_xdata(), marks.get_ydata(), strict=True)
    assert [(round(x + 0.38), round(y + 0.32)) for x, y in places] == [(0, 0), (2, 1)]


def test_a_measure_that_never_had_a_value_is_drawn_as_its_reason() -> None:
    ax = plot_timeline({0: {"rank": Unavailable("no graph")}}, measure="rank")
    assert ax.texts[0].get_text() == "not available: no graph"


def test_no_iteration_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one iteration; got none"):
        plot_timeline({})


def test_a_lineage_says_what_was_done_where_and_when() -> None:
    ax = plot_lineage(JOURNAL)
    at = {tuple(map(int, text.get_position())): text.get_text() for text in ax.texts}
    assert at == {(0, 0): "+4 neurons,\n+2 conn.", (2, 1): "-1 neurons"}
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a (16)", "b (8)"]


def test_what_adds_and_what_takes_away_differ_in_colour() -> None:
    grown, cut = plot_lineage(JOURNAL).patches
    assert grown.get_facecolor() != cut.get_facecolor()


def test_very_many_iterations_are_counted_instead_of_written() -> None:
    edits = [EditEntry(AddNeurons("a", 1), step) for step in range(30)]
    assert {text.get_text() for text in plot_lineage(Journal(edits)).texts} == {"1"}


def test_a_measure_that_nothing_provides_is_answered_with_those_there_are() -> None:
    with pytest.raises(MissingAnalysisError, match=r"needs 'x'.*\(there is: rank\)"):
        plot_timeline(SERIES, measure="x")
