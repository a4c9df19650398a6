"""The decision log: what was done to a network, by whom, and why there."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from structure_net.surgery.entries import OPAQUE, REJECTED, EditEntry, Entry, EventEntry
from structure_net.surgery.journal import Journal
from structure_net.surgery.labels import describe_edit
from structure_net.visualization.canvas import (
    FAINT,
    GREY,
    INK,
    SMALL,
    VERMILLION,
    frame,
    legible,
    new_axes,
    say_absent,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTHS: Final = (30, 46, 26)
_STARTS: Final = (0.0, 0.05, 0.335, 0.765)
_HEADS: Final = ("#", "what", "why", "who")


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision of a lineage.

    Args:
        iteration: From 0.
        what: The edit in a few words.
        why: The reason that was given, or what a trial measured.
        who: The component.
        kept: Whether the edit stands.
    """

    iteration: int
    what: str
    why: str
    who: str
    kept: bool = True


def decisions(journal: Journal) -> tuple[Decision, ...]:
    """What was done to a network, or tried and taken back, in order."""
    found = [_decision(entry) for entry in journal]
    return tuple(one for one in found if one is not None)


def _decision(entry: Entry) -> Decision | None:
    if isinstance(entry, EditEntry):
        return Decision(entry.iteration, describe_edit(entry.edit), entry.reason, entry.component)
    if entry.kind == REJECTED:
        count = len(entry.detail.get("edits", ()))
        tried = f"{count} edit{'' if count == 1 else 's'} tried, taken back"
        return Decision(entry.iteration, tried, _measured(entry), entry.component, kept=False)
    if entry.kind == OPAQUE:
        return Decision(entry.iteration, "changed by hand", "its own `grow`", entry.component)
    return None


def _measured(entry: EventEntry) -> str:
    """What an acceptance policy measured."""
    parts = [
        f"{name.replace('_', ' ')} {value:.3f}"
        for name, value in entry.detail.items()
        if isinstance(value, float)
    ]
    return ", ".join(parts) or "not accepted"


def plot_decision_log(journal: Journal, ax: Axes | None = None, *, last: int = 24) -> Axes:
    """What was decided, why and by whom, one line each, as a table.

    Args:
        journal: Of the network.
        ax: Where to draw; a new figure if None.
        last: At most so many decisions, the newest.

    Raises:
        ValueError: ``last`` is below 1.
    """
    if last < 1:
        raise ValueError(f"last must be 1 or more; got {last}.")
    every = decisions(journal)
    rows = [_cells(one) for one in every[-last:]]
    lines = sum(_height(cells) for cells in rows)
    ax = new_axes(ax, width=10.0, height=1.0 + 0.21 * max(lines + len(rows) / 2, 4))
    title = "Why it was edited, and where"
    if not every:
        return say_absent(ax, title, "the journal holds no decision")
    if len(every) > last:
        title += f" (the last {last} of {len(every)} decisions)"
    frame(ax, title=title)
    _write(ax, rows, [one.kept for one in every[-last:]])
    return ax


def _cells(one: Decision) -> tuple[str, ...]:
    wrapped = [
        "\n".join(textwrap.wrap(text, width)) or "-"
        for text, width in zip((one.what, one.why, one.who), _WIDTHS, strict=True)
    ]
    return (str(one.iteration + 1), *wrapped)


def _height(cells: Sequence[str]) -> int:
    return max(cell.count("\n") for cell in cells) + 1


def _write(ax: Axes, rows: Sequence[Sequence[str]], kept: Sequence[bool]) -> None:
    ax.spines[:].set_visible(False)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_xlim(0, 1)
    level = _line(ax, _HEADS, 0.0, color=GREY, fontweight="bold")
    for cells, stands in zip(rows, kept, strict=True):
        ax.axhline(level, color=FAINT, lw=0.6)
        level = _line(ax, cells, level, color=INK if stands else VERMILLION)
    ax.set_ylim(level, 0)


def _line(ax: Axes, cells: Sequence[str], level: float, **looks: Any) -> float:
    for start, text in zip(_STARTS, cells, strict=True):
        ax.text(start, level + 0.28, legible(text), va="top", fontsize=SMALL, linespacing=1.15,
                **looks)  # fmt: skip
    return level + _height(cells) + 0.5
