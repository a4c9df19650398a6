"""The picture of a run."""

from __future__ import annotations

from collections.abc import Sequence

from structure_net.evolution import TrainingHistory
from structure_net.runs.folder import RunFolder
from structure_net.runs.summary import IterationSummary, Score
from structure_net.surgery.files import replacing
from structure_net.visualization import (
    EvolutionCurve,
    EvolutionPoint,
    GrowthMark,
    Reference,
    plot_evolution,
)


def curve_of(
    history: TrainingHistory,
    iterations: Sequence[IterationSummary],
    *,
    scores: Sequence[Score] = (),
    title: str = "",
) -> EvolutionCurve:
    """What the picture of a run shows; the first score is the run's own and no reference."""
    points = tuple(
        EvolutionPoint(
            seconds=record.elapsed,
            parameters=record.parameters,
            connections=record.connections,
            train_accuracy=record.metrics.get("train_accuracy"),
            validation_accuracy=record.metrics.get("validation_accuracy"),
        )
        for record in history
    )
    marks = tuple(GrowthMark(s.edited_at, s.label) for s in iterations if s.edited_at is not None)
    references = tuple(
        Reference(score.name, score.validation_accuracy)
        for score in scores[1:]
        if score.validation_accuracy is not None
    )
    return EvolutionCurve(points, marks, references, title)


def write_picture(folder: RunFolder, curve: EvolutionCurve) -> bool:
    """Writes ``evolution.png``, whole or not at all; nothing where there is no epoch to show.

    Returns:
        Whether there is a picture.
    """
    if not curve.points:
        return False
    figure = plot_evolution(curve)
    with replacing(folder.picture) as draft:
        figure.savefig(draft, format="png")
    return True
