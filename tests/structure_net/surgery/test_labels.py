"""Every edit has words."""

from __future__ import annotations

from typing import get_args

import pytest

from structure_net.surgery import labels
from structure_net.surgery.edits import (
    AddConnections,
    AddNeurons,
    AddResidualBlock,
    AddSkipConnection,
    DoubleWidth,
    Edit,
    InsertLayer,
    MoveConnections,
    RemoveNeurons,
)
from structure_net.surgery.labels import describe_edit, describe_edits


def test_every_kind_of_edit_has_words() -> None:
    assert set(labels._WORDS) == set(get_args(Edit))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (AddNeurons("fc1", 16), "+16 neurons in fc1"),
        (AddNeurons("fc1", 1), "+1 neuron in fc1"),
        (AddNeurons("fc1", 1260), "+1,260 neurons in fc1"),
        (RemoveNeurons("fc1", (3, 4)), "-2 neurons of fc1"),
        (DoubleWidth("fc1"), "fc1 doubled"),
        (InsertLayer("fc1"), "+layer behind fc1"),
        (AddResidualBlock("fc1", 8), "+residual block behind fc1 (8 wide)"),
        (AddSkipConnection("fc1", "fc3"), "+skip from fc1 to fc3"),
        (AddConnections("fc1", ((0, 1),)), "+1 connection in fc1"),
        (MoveConnections("fc1", ((0, 1), (1, 1)), ((0, 2),)), "-2 +1 connections in fc1"),
    ],
)
def test_an_edit_says_what_and_where(edit: Edit, words: str) -> None:
    assert describe_edit(edit) == words


def test_a_label_adds_up_what_can_be_counted() -> None:
    edits = [
        AddConnections("a", ((0, 1),)),
        InsertLayer("a"),
        AddConnections("b", ((0, 1), (1, 1))),
    ]
    assert describe_edits(edits) == "+3 connections, +layer behind a"
    moves = [MoveConnections("a", ((0, 1), (0, 2)), ((1, 1),)), edits[0]]
    assert describe_edits(moves) == "-2 connections, +2 connections"


def test_a_label_writes_large_counts_as_the_rest_of_a_report_does() -> None:
    assert describe_edits([AddNeurons("a", 1000), AddNeurons("b", 260)]) == "+1,260 neurons"


def test_no_edits_give_an_empty_label() -> None:
    assert describe_edits([]) == ""
