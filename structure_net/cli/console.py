"""What the commands print: tables for people, one JSON document for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from structure_net.runs.summary import (
    IterationSummary,
    Score,
    edits_line,
    iteration_columns,
    score_columns,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def people(*, quiet: bool) -> Console:
    """Where text for people goes: standard output, or standard error beside a JSON document."""
    from rich.console import Console

    console = Console(stderr=quiet, highlight=False)
    # A file or a pipe has no width of its own; a table must not be squeezed into 80 columns there.
    return console if console.is_terminal else Console(stderr=quiet, highlight=False, width=160)


def emit(document: Any) -> None:
    """Writes one JSON document to standard output."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def fail(message: str) -> None:
    """Writes one line to standard error."""
    sys.stderr.write(f"structure-net: {' '.join(message.split())}\n")


def said_of(error: OSError) -> str:
    """What the operating system refused, as a sentence."""
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or error}."


def score_table(scores: Sequence[Score]) -> Table:
    """Networks side by side, one column each."""
    (_, names), *rest = score_columns(scores)
    table = _table(("", *names))
    for name, cells in rest:
        table.add_row(name, *cells)
    return table


def iteration_table(iterations: Sequence[IterationSummary]) -> Table:
    """The iterations of a run, one row each."""
    (train, trained), (validation, validated) = iteration_columns(iterations)
    sizes = ("#", "connections", "parameters", "density")
    table = _table((*sizes, train, validation, "seconds", "edits"))
    for s, *results in zip(iterations, trained, validated, strict=True):
        table.add_row(
            str(s.iteration),
            f"{s.connections:,}",
            f"{s.parameters:,}",
            f"{s.density:.2%}",
            *results,
            f"{s.seconds:.1f}",
            edits_line(s),
        )
    return table


_WORDY = frozenset({"", "edits", "layer", "by", "edit", "why", "what changes"})


def _table(columns: Sequence[str]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="left" if name in _WORDY else "right")
    return table


def plain_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: bool = False
) -> Table:
    """A table of text, numbers to the right unless ``left``."""
    table = _table(columns)
    if left:
        for column in table.columns:
            column.justify = "left"
    for row in rows:
        table.add_row(*row)
    return table
