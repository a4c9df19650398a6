"""What the commands print: tables for people, one JSON document for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from structure_net.runs.summary import (
    IterationSummary,
    Score,
    edits_line,
    iteration_columns,
    score_columns,
)

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
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


def iteration_table(iterations: Sequence[IterationSummary]) -> Listing:
    """The iterations of a run, one row each."""
    (train, trained), (validation, validated) = iteration_columns(iterations)
    sizes = ("#", "connections", "parameters", "density")
    rows = [
        (
            str(s.iteration),
            f"{s.connections:,}",
            f"{s.parameters:,}",
            f"{s.density:.2%}",
            *results,
            f"{s.seconds:.1f}",
            edits_line(s),
        )
        for s, *results in zip(iterations, trained, validated, strict=True)
    ]
    return plain_table((*sizes, train, validation, "seconds", "edits"), rows)


def plain_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: bool = False
) -> Listing:
    """Rows of text, numbers to the right unless ``left``."""
    return Listing(tuple(columns), tuple(map(tuple, rows)), left)


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows of text: a table where it fits, else a few lines for each row; no word is ever cut.

    Args:
        columns: Their names.
        rows: The cells of each row.
        left: Whether numbers stand to the left, too.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.table import Table
        from rich.text import Text

        table = _table(self.columns, left=self.left)
        widths = self._widths(options.max_width)
        if widths is not None:
            for column, width in zip(table.columns, widths, strict=True):
                column.width, column.overflow = width, "fold"
            for row in self.rows:
                table.add_row(*map(Text, row))
            yield table
            return
        for row in self.rows:
            lines = Table.grid("", "", padding=(0, 2, 0, 0))
            lines.columns[0].no_wrap, lines.columns[1].overflow = True, "fold"
            for pair in zip(self.columns, row, strict=True):
                lines.add_row(*map(Text, pair))
            yield lines
            yield ""

    def _widths(self, most: int) -> list[int] | None:
        """The width of each column of a table as wide as ``most``; None where none is legible."""
        from rich.cells import cell_len

        widths = [max(map(cell_len, cells)) for cells in zip(self.columns, *self.rows, strict=True)]
        least = [
            min(width, max(cell_len(name), _WRAPPED.get(name, width)))
            for name, width in zip(self.columns, widths, strict=True)
        ]
        for _ in range(sum(widths) + 3 * len(widths) - 1 - most):
            spare = [width - floor for width, floor in zip(widths, least, strict=True)]
            if not any(spare):
                return None
            widths[spare.index(max(spare))] -= 1
        return widths


_WORDY: Final = ("", "edits", "layer", "by", "edit", "why", "what changes")
_WRAPPED: Final = {
    **dict.fromkeys(("edits", "edit", "why", "what changes", "question", "best"), 24),
    **dict.fromkeys(("arms", "difference", "standardised", "compared"), 12),
}
"""The columns whose cells may take several lines, with the width that is needed to read them."""


def _table(columns: Sequence[str], *, left: bool = False) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="left" if left or name in _WORDY else "right")
    return table
