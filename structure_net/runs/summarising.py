"""One iteration in short, read from the journal, the history and the network."""

from __future__ import annotations

from collections.abc import Mapping

from structure_net.core import NetworkStats, network_stats
from structure_net.evolution import NetworkContext
from structure_net.runs.summary import EditNote, IterationSummary
from structure_net.surgery.entries import OPAQUE, REJECTED, EditEntry, EventEntry
from structure_net.surgery.labels import describe_edit, describe_edits


def summarise(
    context: NetworkContext, iteration: int, *, seconds: float, edited_at: float | None
) -> IterationSummary:
    """Sums up an iteration that has just ended.

    Args:
        context: What the iteration returned.
        iteration: Its number, from 0.
        seconds: How long it took.
        edited_at: Seconds since the start of the run at its last edit; None without one.
    """
    entries = [entry for entry in context.journal if entry.iteration == iteration]
    edits = [entry.edit for entry in entries if isinstance(entry, EditEntry)]
    stats = network_stats(context.network)
    records = [record for record in context.history if record.iteration == iteration]
    metrics = records[-1].metrics if records else {}
    notes = tuple(note for entry in entries if (note := _note(entry)) is not None)
    return IterationSummary(
        iteration=iteration + 1,
        edits=notes,
        label=describe_edits(edits) or ("edited by hand" if notes else ""),
        edited_at=edited_at,
        architecture=_widths(stats),
        connections=stats["total_connections"],
        parameters=stats["total_parameters"],
        density=stats["density"],
        train_loss=metrics.get("train_loss"),
        train_accuracy=metrics.get("train_accuracy"),
        validation_loss=metrics.get("validation_loss"),
        validation_accuracy=metrics.get("validation_accuracy"),
        seconds=seconds,
    )


def _note(entry: EditEntry | EventEntry) -> EditNote | None:
    if isinstance(entry, EditEntry):
        return EditNote(entry.component, describe_edit(entry.edit), entry.reason)
    if entry.kind == REJECTED:
        tried = f"{len(entry.detail.get('edits', ()))} edits"
        return EditNote(entry.component, tried, _measured(entry.detail), accepted=False)
    if entry.kind == OPAQUE:
        return EditNote(entry.component, "edited by hand", "its own `grow`")
    return None


def _measured(detail: Mapping[str, object]) -> str:
    """What an acceptance policy measured, in words."""
    numbers = {name: value for name, value in detail.items() if isinstance(value, float)}
    said = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in numbers.items())
    return said or "not accepted"


def _widths(stats: NetworkStats) -> tuple[int, ...]:
    layers = stats["layers"]
    return (layers[0]["inputs"], *(layer["outputs"] for layer in layers)) if layers else ()
