"""The picture of a run."""

from __future__ import annotations

from structure_net.files import replacing
from structure_net.runs.folder import RunFolder
from structure_net.runs.state import RunState
from structure_net.visualization import (
    EvolutionCurve,
    EvolutionPoint,
    GrowthMark,
    Reference,
    plot_evolution,
)


def curve_of(birth: EvolutionPoint, state: RunState, *, title: str = "") -> EvolutionCurve:
    """What the picture of a run shows.

    Args:
        birth: The network before the first iteration.
        state: What happened since; its first score is the run's own and no reference.
        title: Stands above the picture.
    """
    points = tuple(
        EvolutionPoint(
            seconds=record.elapsed,
            parameters=record.parameters,
            connections=record.connections,
            train_accuracy=record.metrics.get("train_accuracy"),
            validation_accuracy=record.metrics.get("validation_accuracy"),
            train_loss=record.metrics.get("train_loss"),
            validation_loss=record.metrics.get("validation_loss"),
        )
        for record in state.context.history
    )
    marks = tuple(
        GrowthMark(summary.edited_at, summary.label)
        for summary in state.iterations
        if summary.edited_at is not None
    )
    references = tuple(
        Reference(score.name, score.validation_accuracy, score.validation_loss)
        for score in state.scores[1:]
    )
    return EvolutionCurve((birth, *points), marks, references, title)


def write_picture(folder: RunFolder, curve: EvolutionCurve) -> None:
    """Writes ``evolution.png``, whole or not at all."""
    figure = plot_evolution(curve)
    with replacing(folder.picture) as draft:
        figure.savefig(draft, format="png")
