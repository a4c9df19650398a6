"""What happened in a run, in numbers that a line, a table or a picture can show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["running", "finished", "interrupted", "stopped"]


@dataclass(frozen=True, slots=True)
class EditNote:
    """An edit that was made, or tried and taken back.

    Args:
        component: The strategy that proposed it.
        text: The edit in a few words.
        reason: Why it was proposed, or why it was taken back.
        accepted: Whether it stands.
    """

    component: str
    text: str
    reason: str
    accepted: bool = True


@dataclass(frozen=True, slots=True)
class IterationSummary:
    """One round of looking, editing and training.

    Args:
        iteration: Counted from 1.
        edits: In order.
        label: The accepted edits as one label; empty if there are none.
        edited_at: Seconds since the start of the run at the last accepted edit; None without one.
        architecture: Widths from input to output after the edits.
        connections: Live connections after the edits.
        parameters: Live parameters after the edits.
        density: Live connections over possible ones.
        train_loss: After the last epoch; None where it was not measured, as for the next three.
        train_accuracy: Between 0 and 1.
        validation_loss: On the held-out part of the training data.
        validation_accuracy: Between 0 and 1.
        seconds: Wall-clock time of this iteration.
    """

    iteration: int
    edits: tuple[EditNote, ...]
    label: str
    edited_at: float | None
    architecture: tuple[int, ...]
    connections: int
    parameters: int
    density: float
    train_loss: float | None
    train_accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Score:
    """A trained network among those that are compared.

    Args:
        name: What it is, such as "evolved".
        epochs: Epochs of training in all.
        connections: Live connections.
        parameters: Live parameters.
        train_accuracy: Between 0 and 1; None for a regression, as for the next two.
        validation_accuracy: Between 0 and 1.
        test_accuracy: Between 0 and 1, on data that no decision has seen.
        test_loss: The loss on the same data.
        seconds: Wall-clock time of its training.
    """

    name: str
    epochs: int
    connections: int
    parameters: int
    train_accuracy: float | None
    validation_accuracy: float | None
    test_accuracy: float | None
    test_loss: float
    seconds: float


def iteration_line(summary: IterationSummary, *, of: int) -> str:
    """One line on an iteration: sizes, accuracies, seconds, then the edits and why."""
    width = len(str(of))
    parts = [
        f"iteration {summary.iteration:>{width}}/{of}",
        f"{summary.connections:,} connections",
        f"{summary.parameters:,} parameters",
        f"density {summary.density:.2%}",
        f"train {percent(summary.train_accuracy)}",
        f"validation {percent(summary.validation_accuracy)}",
        f"{summary.seconds:.1f} s",
        edits_line(summary),
    ]
    return " | ".join(parts)


def edits_line(summary: IterationSummary) -> str:
    """The edits of an iteration and why they were made; those taken back are said to be."""
    if not summary.edits:
        return "no edits"
    return "; ".join(
        f"{note.text} ({note.reason})"
        if note.accepted
        else f"{note.text} taken back ({note.reason})"
        for note in summary.edits
    )


def percent(value: float | None) -> str:
    """A fraction as a percentage with one decimal; a dash for None."""
    return "-" if value is None else f"{value:.1%}"
