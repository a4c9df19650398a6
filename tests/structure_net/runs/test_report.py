"""The report says what was asked, what happened, why, and how to go on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from structure_net.runs import (
    EditNote,
    IterationSummary,
    ReportFacts,
    RunRequest,
    Score,
    iteration_line,
    render_report,
)
from structure_net.runs.summary import Status

ITERATION = IterationSummary(
    iteration=1,
    edits=(
        EditNote("ExtremaGrowthStrategy", "+40 connections in layers.1", "2 dead | units"),
        EditNote("Doubler", "layers.0 doubled", "held out loss 0.7", accepted=False),
    ),
    label="+40 connections",
    edited_at=0.1,
    architecture=(64, 20, 10),
    connections=140,
    parameters=170,
    density=0.0931,
    train_loss=0.7,
    train_accuracy=0.81,
    validation_loss=0.8,
    validation_accuracy=0.79,
    seconds=1.25,
)
FACTS = ReportFacts(
    name="runs/try",
    request=RunRequest(architecture=(64, 20, 10), iterations=2),
    command=("structure-net", "evolve", "--seed", "3"),
    architecture=(64, 20, 10),
    start_connections=100,
    dataset={"name": "digits", "checksum": "abc", "sizes": {"train": 1293}},
    versions={"torch": "2.13.0"},
    status="finished",
    reason="",
    iterations=(ITERATION, replace(ITERATION, iteration=2, edits=(), label="")),
    scores=(Score("evolved", 6, 140, 170, 0.81, 0.79, 0.78, 0.9, 2.5),),
)


def test_an_iteration_is_one_line_with_sizes_accuracies_time_edits_and_reasons() -> None:
    line = iteration_line(ITERATION, of=2)
    assert "\n" not in line
    for part in (
        "1/2",
        "140 connections",
        "170 parameters",
        "9.31%",
        "train 81.0%",
        "validation 79.0%",
        "1.2 s",
        "+40 connections in layers.1 (2 dead | units)",
        "layers.0 doubled taken back (held out loss 0.7)",
    ):
        assert part in line


REGRESSION = replace(
    FACTS,
    iterations=tuple(
        replace(i, train_accuracy=None, validation_accuracy=None, validation_loss=0.0123)
        for i in FACTS.iterations
    ),
    scores=(Score("evolved", 6, 140, 170, None, None, None, 0.9, 2.5, 0.6, 0.8),),
)


def test_a_run_without_accuracies_is_told_by_its_losses() -> None:
    line = iteration_line(REGRESSION.iterations[0], of=2)
    assert "train loss 0.700 (running) | validation loss 0.0123" in line
    text = render_report(REGRESSION)
    for part in (
        "validation loss 0.0123, test loss 0.900.",
        "| train loss (running) | validation loss |",
        "| train loss | validation loss | test loss | seconds |",
        "| 0.600 | 0.800 | 0.900 | 2.5 |",
        "![Loss and size over time]",
    ):
        assert part in text
    assert "accuracy" not in text


def test_the_running_value_and_the_measured_one_have_different_names() -> None:
    text = render_report(FACTS)
    assert "| train (running) | validation |" in text
    assert "| train | validation | test | test loss |" in text


def test_a_folder_is_quoted_for_a_shell() -> None:
    text = render_report(replace(FACTS, name="my runs/try 1", status="interrupted"))
    for command in ("resume", "show", "replay"):
        assert f"structure-net {command} 'my runs/try 1'" in text


def test_an_iteration_without_edits_says_so() -> None:
    assert iteration_line(FACTS.iterations[1], of=2).endswith("no edits")


def test_the_report_says_what_was_asked_and_what_came_of_it() -> None:
    text = render_report(FACTS)
    for part in (
        "structure-net evolve --seed 3",
        "from 100 to 140 connections",
        "test accuracy 78.0%",
        "![Accuracy and size over time](evolution.png)",
        "torch 2.13.0",
        "structure-net replay runs/try",
    ):
        assert part in text


def test_every_table_row_has_as_many_cells_as_its_head() -> None:
    rows = [line.replace("\\|", "") for line in render_report(FACTS).split("\n")]
    width = 0
    for before, line in zip(["", *rows], rows, strict=False):
        if line.startswith("|"):
            width = line.count("|") if not before.startswith("|") else width
            assert line.count("|") == width


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("interrupted", "structure-net resume runs/try"),
        ("stopped", "the loss is not finite"),
        ("running", "structure-net resume runs/try"),
    ],
)
def test_an_unfinished_run_says_why_and_how_to_go_on(status: Status, words: str) -> None:
    text = render_report(replace(FACTS, status=status, reason="the loss is not finite"))
    assert words in text


def test_a_finished_run_is_not_asked_to_be_resumed() -> None:
    assert "resume runs/try " not in render_report(FACTS)


def test_a_run_without_an_iteration_has_a_report_without_a_picture() -> None:
    text = render_report(replace(FACTS, iterations=(), scores=(), status="interrupted"))
    assert "evolution.png" not in text
