"""What happened in a run, in numbers that a line, a table or a picture can show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Status = Literal["running", "finished", "interrupted", "stopped"]
Column = tuple[str, tuple[str, ...]]
"""A head and the cells below it."""
Floats = Sequence[float | None]


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
        train_loss: The trainer's running value of the last epoch, taken while the weights moved;
            None where it was not measured, as for the next three.
        train_accuracy: Likewise, between 0 and 1.
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
        train_loss: The loss on what it learned from; None in files of earlier versions, as next.
        validation_loss: The loss on the held-out part of the training data.
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
    train_loss: float | None = None
    validation_loss: float | None = None


def iteration_line(summary: IterationSummary, *, of: int) -> str:
    """One line on an iteration: sizes, accuracies (or losses), seconds, then the edits and why."""
    width = len(str(of))
    parts = [
        f"iteration {summary.iteration:>{width}}/{of}",
        f"{summary.connections:,} connections",
        f"{summary.parameters:,} parameters",
        f"density {summary.density:.2%}",
        f"train {_result(summary.train_accuracy, summary.train_loss)} (running)",
        f"validation {_result(summary.validation_accuracy, summary.validation_loss)}",
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


def _result(accuracy: float | None, loss: float | None) -> str:
    return percent(accuracy) if accuracy is not None or loss is None else f"loss {decimal(loss)}"


def iteration_columns(iterations: Sequence[IterationSummary]) -> tuple[Column, Column]:
    """The columns of results in a table of iterations: accuracies, or losses where there are none.

    Returns:
        Training (the running value) and validation, each a head and one cell per iteration.
    """
    s = iterations
    return (
        _column("train (running)", [x.train_accuracy for x in s], [x.train_loss for x in s]),
        _column("validation", [x.validation_accuracy for x in s], [x.validation_loss for x in s]),
    )


def score_columns(scores: Sequence[Score]) -> tuple[Column, ...]:
    """The columns of a table that sets trained networks side by side, one cell per network.

    Accuracies on all three splits and the test loss; where there are no accuracies, three losses.
    """
    s = scores
    test = _column("test", [x.test_accuracy for x in s], [x.test_loss for x in s])
    test_loss = ("test loss", tuple(decimal(x.test_loss) for x in s))
    columns = (
        ("network", tuple(x.name for x in s)),
        ("epochs", tuple(str(x.epochs) for x in s)),
        ("connections", tuple(f"{x.connections:,}" for x in s)),
        ("parameters", tuple(f"{x.parameters:,}" for x in s)),
        _column("train", [x.train_accuracy for x in s], [x.train_loss for x in s]),
        _column("validation", [x.validation_accuracy for x in s], [x.validation_loss for x in s]),
        test,
        test_loss,
        ("seconds", tuple(f"{x.seconds:.1f}" for x in s)),
    )
    return tuple(dict(columns).items())


def _column(name: str, accuracies: Floats, losses: Floats) -> Column:
    """Accuracies as percentages, or losses where there is no accuracy but a loss."""
    if any(x is not None for x in accuracies) or all(x is None for x in losses):
        return name, tuple(percent(x) for x in accuracies)
    split, _, note = name.partition(" ")
    return f"{split} loss {note}".strip(), tuple(decimal(x) for x in losses)


def percent(value: float | None) -> str:
    """A fraction as a percentage with one decimal; a dash for None."""
    return "-" if value is None else f"{value:.1%}"


def decimal(value: float | None) -> str:
    """A loss with three decimals, or with three digits where it is small; a dash for None."""
    if value is None:
        return "-"
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.1 else f"{value:.3g}"
