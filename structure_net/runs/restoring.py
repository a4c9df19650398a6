"""A run read back from its folder, to go on with it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from structure_net.errors import RunError
from structure_net.evolution import TrainingHistory
from structure_net.runs.execution import fresh_context
from structure_net.runs.folder import RunFolder
from structure_net.runs.optimizers import optimizer_like
from structure_net.runs.preparing import Prepared, prepare
from structure_net.runs.state import RunState, summaries_of
from structure_net.surgery.checkpoint import load_checkpoint

if TYPE_CHECKING:
    from structure_net.runs.records import RunRecord


def resumed(
    folder: RunFolder,
    *,
    iterations: int | None = None,
    data_dir: str | None = None,
    baseline: bool = False,
) -> tuple[Prepared, RunState]:
    """What a run was made of, and where it stands.

    Args:
        folder: Of a run that exists.
        iterations: Iterations in all; as asked for at first if None.
        data_dir: Where the data lie now; as at first if None.
        baseline: Whether to compare at the end, even if it was not asked for at first.

    Raises:
        RunError: A file is damaged, the data or the pipeline are not those of the run, or
            ``iterations`` are fewer than are done.
        DatasetError: The data are missing or damaged.
        CheckpointError: The checkpoint is missing, damaged, or does not fit the run.
    """
    record = folder.read_run()
    request = replace(
        record.request,
        iterations=record.request.iterations if iterations is None else iterations,
        data_dir=record.request.data_dir if data_dir is None else data_dir,
        baseline=baseline or record.request.baseline,
    )
    prepared = prepare(request)
    _check_data(prepared, record)
    state = _restored(folder, prepared)
    if state.context.iteration > request.iterations:
        raise RunError(
            f"{folder.name} has done {state.context.iteration} iterations already; "
            f"--iterations must not be fewer; got {request.iterations}."
        )
    folder.write_run(record.model_copy(update={"request": request}))
    return prepared, state


def _check_data(prepared: Prepared, record: RunRecord) -> None:
    found, asked = prepared.dataset.descriptor.checksum, record.dataset.get("checksum")
    if found != asked:
        raise RunError(
            f"The data set {record.request.dataset!r} is not the one that the run began with: its "
            f"checksum is {found}, the run's is {asked}. Name the right folder with --data-dir."
        )


def _restored(folder: RunFolder, prepared: Prepared) -> RunState:
    context = fresh_context(prepared)
    checkpoint = load_checkpoint(folder.checkpoint, prepared.network, example=context.example)
    checkpoint.restore_random_states()
    context = replace(
        context,
        optimizer=optimizer_like(checkpoint),
        iteration=checkpoint.iteration,
        history=TrainingHistory.from_list(checkpoint.history),
        journal=checkpoint.journal,
    )
    return RunState(context, summaries_of(checkpoint.metadata))
