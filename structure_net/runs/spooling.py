"""The records of a run: opened, gone on with, closed.

The spool lies in ``records/`` of the run's folder. Each record is written before the run goes on. A
run that is resumed goes on in the same spool, where a `Resumed` record says which of the earlier
records no longer stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from structure_net.core import network_stats
from structure_net.errors import SpoolError
from structure_net.evolution import Event
from structure_net.logging import RecordStream, Sink, Spool, Stored, current
from structure_net.logging.profiling import Costs, Profiler, bottlenecks
from structure_net.runs.folder import RunFolder
from structure_net.runs.recording import Recorder
from structure_net.runs.state import RunState
from structure_net.runs.summary import IterationSummary, Status

if TYPE_CHECKING:
    from structure_net.logging.records import NetworkFacts, RecordModel
    from structure_net.runs.records import RunRecord

_LATE: Final = frozenset({"run_ended", "artifact", "missed"})
"""Kinds that come behind the last iteration of a run, and no longer stand when it goes on."""


class RunRecords:
    """What a run writes to its spool.

    Args:
        stream: Takes the records.
        folder: The run's.
    """

    def __init__(self, stream: RecordStream, folder: RunFolder) -> None:
        self._stream = stream
        self._folder = folder
        self._recorder = Recorder(stream)
        self._began = perf_counter()

    @property
    def hears_steps(self) -> bool:
        """Whether something waits to be written when the next step is over."""
        return self._recorder.hears_steps

    def observe(self, event: Event) -> None:
        """An event of the run's system.

        Raises:
            SpoolError: The spool cannot be written.
        """
        self._recorder(event)

    def iteration(self, summary: IterationSummary) -> None:
        """An iteration is over and about to be saved."""
        from structure_net.logging.records import Iteration, NetworkFacts

        self._recorder.settle()
        metrics = {
            name: value
            for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
            if (value := getattr(summary, name)) is not None
        }
        size = NetworkFacts(
            widths=summary.architecture,
            parameters=summary.parameters,
            connections=summary.connections,
            density=summary.density,
        )
        record = Iteration(
            iteration=summary.iteration - 1,
            network=size,
            metrics=metrics,
            seconds=summary.seconds,
            label=summary.label,
        )
        self._stream.emit(record)

    def profiled(self, costs: Costs, *, iteration: int | None = None) -> None:
        """What an iteration cost, counted from 0, or the whole run."""
        findings = bottlenecks(costs) if iteration is None else ()
        self._stream.emit(costs.record(iteration=iteration, findings=findings))

    def note_sinks(self, profiler: Profiler) -> None:
        """Tells a profiler what the sinks have cost."""
        for name, (calls, seconds) in self._stream.sink_costs.items():
            profiler.beside(name, calls=calls, seconds=seconds)

    def ended(self, state: RunState, *, status: Status, reason: str = "") -> None:
        """The run is over, its last files written; these become artifacts."""
        from structure_net.logging.records import RunEnded

        self._recorder.settle()
        self._keep(state.context.iteration)
        assert status != "running"
        record = RunEnded(
            status=status,
            reason=reason,
            seconds=perf_counter() - self._began,
            network=facts_of(state.context.network),
            scores=tuple(asdict(score) for score in state.scores),
        )
        self._stream.emit(record)

    def _keep(self, iteration: int) -> None:
        """Makes artifacts of the run's files; what is read from the checkpoint names it."""
        from structure_net.logging.records import Artifact

        made_from: tuple[str, ...] = ()
        for kind, (path, media) in _files(self._folder).items():
            if not path.is_file():
                continue
            # Checkpoints may be large, and nobody writes into one by hand.
            blob = self._stream.spool.put(path, link=kind == "checkpoint")
            record = Artifact(
                name=path.name,
                type=kind,
                digest=blob.digest,
                size=blob.size,
                media=media,
                iteration=iteration,
                made_from=made_from,
            )
            self._stream.emit(record)
            made_from = made_from or (blob.digest,)


def _files(folder: RunFolder) -> dict[str, tuple[Path, str]]:
    """The files of a run that become artifacts, with their media types."""
    return {
        "checkpoint": (folder.checkpoint, "application/octet-stream"),
        "journal": (folder.journal, "application/json"),
        "report": (folder.report, "text/markdown"),
        "picture": (folder.picture, "image/png"),
        "profile": (folder.profile, "image/png"),
    }


def facts_of(network: Any) -> NetworkFacts:
    """The size of a network."""
    from structure_net.logging.records import NetworkFacts

    stats = network_stats(network)
    layers = stats["layers"]
    widths = (layers[0]["inputs"], *(layer["outputs"] for layer in layers)) if layers else ()
    return NetworkFacts(
        widths=widths,
        parameters=stats["total_parameters"],
        connections=stats["total_connections"],
        density=stats["density"],
    )


def started(folder: RunFolder, record: RunRecord, network: Any) -> None:
    """Makes the spool of a new run, with its first record.

    Raises:
        SpoolError: It cannot be written.
    """
    with Spool(folder.records) as spool:
        spool.append(_run_started(folder, record, network))


def _run_started(folder: RunFolder, record: RunRecord, network: Any) -> RecordModel:
    from structure_net.logging.records import RunStarted

    return RunStarted(
        run=uuid4().hex,
        name=folder.path.name,
        program="structure-net evolve",
        command=record.command,
        config=asdict(record.request),
        dataset=dict(record.dataset),
        network=facts_of(network),
        versions=record.versions,
        seed=record.request.seed,
    )


@contextmanager
def recording(
    folder: RunFolder, state: RunState, sinks: Sequence[Sink] = ()
) -> Iterator[RunRecords]:
    """The records of a run that begins or goes on from ``state``, closed when the block is over.

    Raises:
        SpoolError: Another program writes to the run's spool, or it cannot be written.
    """
    with RecordStream(Spool(folder.records), sinks) as stream:
        _go_on(stream, folder, state)
        yield RunRecords(stream, folder)


def _go_on(stream: RecordStream, folder: RunFolder, state: RunState) -> None:
    """Says from where the run goes on, unless it has not begun."""
    from structure_net.logging.records import Resumed

    spool, iteration = stream.spool, state.context.iteration
    if not spool.last:  # the run was made by a program that kept no records
        stream.emit(_run_started(folder, folder.read_run(), state.context.network))
    try:
        after = _last_standing(folder, iteration)
    except SpoolError as error:
        way_out = f"To go on with the run in a new spool, move {folder.records} away."
        raise SpoolError(f"{error} {way_out}") from error
    if iteration == 0 and spool.last == after == 1:
        return
    torn = 0 if spool.torn is None else spool.torn.size
    stream.emit(Resumed(after=after, iteration=iteration, torn=torn))


def _last_standing(folder: RunFolder, iteration: int) -> int:
    """The number of the last record that a run which goes on from ``iteration`` still has."""
    last = 0
    for stored in current(folder.records):
        if stored.kind in _LATE or _iteration_of(stored) >= iteration:
            break
        last = stored.seq
    return last


def _iteration_of(stored: Stored) -> int:
    """The iteration that a record belongs to; -1 where that says nothing."""
    if stored.kind == "resumed":
        return -1
    found = stored.data.get("iteration")
    return found if isinstance(found, int) else -1
