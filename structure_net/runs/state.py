"""Where a run stands, and how that is written and read back.

The checkpoint is the truth: it holds the network, its optimizer, the history, the journal and the
summaries in one file, replaced in one step. ``journal.json`` and ``history.json`` are written after
it and say the same for people and programs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from structure_net.evolution import NetworkContext
from structure_net.runs.folder import RunFolder
from structure_net.runs.summary import EditNote, IterationSummary, Score, Status
from structure_net.surgery.checkpoint import save_checkpoint


@dataclass(frozen=True, slots=True, eq=False)
class RunState:
    """Where a run stands.

    Args:
        context: The network with everything that learns with it.
        iterations: What happened so far.
        scores: The final numbers, once they are known.
    """

    context: NetworkContext
    iterations: tuple[IterationSummary, ...] = ()
    scores: tuple[Score, ...] = ()


def save_state(folder: RunFolder, state: RunState) -> None:
    """Writes the checkpoint, then the journal and the history.

    Raises:
        CheckpointError: The checkpoint cannot be written; the previous one is as it was.
        OSError: The journal or the history cannot be written; the previous ones are as they were.
    """
    context = state.context
    save_checkpoint(
        folder.checkpoint,
        context.network,
        optimizer=context.optimizer,
        history=context.history.to_list(),
        journal=context.journal,
        example=context.example,
        iteration=context.iteration,
        metadata=_metadata(state),
    )
    context.journal.save(folder.journal)
    write_history(folder, state, status="running")


def write_history(folder: RunFolder, state: RunState, *, status: Status, reason: str = "") -> None:
    """Writes ``history.json``, whole or not at all."""
    from structure_net.runs.records import HistoryRecord

    folder.write_history(
        HistoryRecord(
            status=status,
            reason=reason,
            epochs=tuple(state.context.history.to_list()),
            iterations=state.iterations,
            scores=state.scores,
        )
    )


def _metadata(state: RunState) -> dict[str, Any]:
    return {"iterations": [asdict(summary) for summary in state.iterations]}


def summaries_of(metadata: Mapping[str, Any]) -> tuple[IterationSummary, ...]:
    """The summaries that a checkpoint holds."""
    return tuple(_summary(data) for data in metadata["iterations"])


def _summary(data: Mapping[str, Any]) -> IterationSummary:
    edits = tuple(EditNote(**note) for note in data["edits"])
    return IterationSummary(**{**data, "edits": edits, "architecture": tuple(data["architecture"])})
