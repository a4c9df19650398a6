"""Tables for people lose nothing, however narrow the terminal is."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from structure_net.cli.console import Listing, plain_table

COLUMNS = ("name", "category", "arms", "question")
ROWS = [
    ("learning_rate_after_growth", "optimization", "even, young", "Should [new] weights run?"),
    ("short", "topology", "a_single_arm_that_is_longer_than_its_column", "Why not?"),
]


def shown(listing: Listing, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(listing)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_no_word_is_cut_at_any_width(width: int) -> None:
    lines = shown(plain_table(COLUMNS, ROWS, left=True), width)
    text = " ".join(lines)
    assert all(len(line) <= width for line in lines)
    assert "…" not in text
    for word in ("learning_rate_after_growth", "optimization", "[new]", "weights", "run?"):
        assert word in text
    # A word that is longer than its column goes on in the next line.
    assert "a_single_arm" in text


def test_a_row_is_a_line_where_the_terminal_is_wide() -> None:
    lines = shown(plain_table(COLUMNS, ROWS), 160)
    (row,) = [line for line in lines if "learning_rate_after_growth" in line]
    assert row.split() == " ".join(ROWS[0]).split()


def test_a_row_is_a_block_of_lines_where_a_table_would_be_illegible() -> None:
    lines = shown(plain_table(("metric", "p", "verdict"), [("accuracy", "0.2", "SUPPORTED")]), 20)
    assert [line.split() for line in lines if line.strip()] == [
        ["metric", "accuracy"],
        ["p", "0.2"],
        ["verdict", "SUPPORTED"],
    ]


def test_a_table_without_rows_shows_its_columns() -> None:
    assert any("metric" in line for line in shown(plain_table(("metric", "p"), []), 60))
