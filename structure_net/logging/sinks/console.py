"""Records as lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from structure_net.logging.guarding import Source
from structure_net.logging.lines import Stored

if TYPE_CHECKING:
    from rich.console import Console


class ConsoleSink:
    """Prints a line for each record that people want to see.

    Args:
        console: Where to; standard error if None, so that output for programs stays clean.
        quiet: Kinds of records that are not printed.
    """

    name = "console"

    def __init__(
        self,
        console: Console | None = None,
        *,
        quiet: frozenset[str] = frozenset({"analysis", "profile", "artifact"}),
    ) -> None:
        self._console = console
        self._quiet = quiet

    def open(self, source: Source) -> None:
        """Makes the console."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(stderr=True, highlight=False)

    def write(self, stored: Stored) -> None:
        """Prints a record's line."""
        if self._console is not None and stored.kind not in self._quiet:
            self._console.print(line_for_people(stored), markup=False, soft_wrap=True)

    def flush(self, deadline: float) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is held."""


_FIRST = ("name", "run", "iteration", "epoch", "status", "outcome", "text", "label")
_LONG = 60


def line_for_people(stored: Stored) -> str:
    """A record in one line: its number, its kind, and what is short in it."""
    data = stored.data
    parts = [f"{name} {_short(data[name])}" for name in _FIRST if data.get(name) not in (None, "")]
    metrics = data.get("metrics")
    if isinstance(metrics, dict):
        parts += [f"{_short(name)} {_short(value)}" for name, value in metrics.items()]
    if data.get("reason"):
        parts.append(f"({_short(data['reason'])})")
    return f"{stored.seq:>6}  {stored.kind.replace('_', ' ')}  {'  '.join(parts)}".rstrip()


def _short(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONG else text[: _LONG - 1] + "…"
