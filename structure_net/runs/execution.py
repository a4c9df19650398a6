"""Carrying out a run: iteration after iteration, each saved before the next begins."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from structure_net.core import network_stats
from structure_net.core.sections import section
from structure_net.core.undoing import uninterrupted
from structure_net.data import DatasetDescriptor
from structure_net.errors import SpoolError, StructureNetError
from structure_net.evolution import Event, EventKind, NetworkContext
from structure_net.files import write_text
from structure_net.logging import Sink
from structure_net.logging.profiling import Costs, Profiler
from structure_net.runs.blaming import blamed
from structure_net.runs.comparing import compare
from structure_net.runs.folder import RunFolder, new_files
from structure_net.runs.picture import curve_of, write_picture
from structure_net.runs.preparing import Prepared
from structure_net.runs.profiling import RunProfile, costs_of
from structure_net.runs.report import ReportFacts, render_report
from structure_net.runs.spooling import RunRecords, recording, started
from structure_net.runs.state import RunState, save_state, write_history
from structure_net.runs.summarising import summarise
from structure_net.runs.summary import Status
from structure_net.runs.watching import Watcher
from structure_net.visualization import EvolutionPoint

Kept = tuple[RunRecords, RunProfile]
"""Where a run tells what happens in it."""


def begin(folder: RunFolder, prepared: Prepared, *, command: Sequence[str]) -> RunState:
    """Makes the run folder with what was asked and the network at birth, or nothing at all.

    The system looks at the network once before anything is written.

    Args:
        folder: From `free_folder`.
        prepared: What the run is made of.
        command: The command line, word by word, for the record.

    Raises:
        StructureNetError: A strategy requires what no analyzer provides, an analyzer fails, or the
            checkpoint cannot be written; no folder is left.
        OSError: A file cannot be written; no folder is left.
    """
    from structure_net.runs.records import RunRecord

    state = RunState(fresh_context(prepared))
    with blamed("The run cannot start"):
        prepared.system.check(state.context)
    stats = network_stats(prepared.network)
    record = RunRecord(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=tuple(command),
        request=prepared.request,
        architecture=tuple(prepared.network.architecture),
        start_connections=stats["total_connections"],
        start_parameters=stats["total_parameters"],
        threads=torch.get_num_threads(),
        dataset=_plain(prepared.dataset.descriptor),
        versions=_versions(),
    )
    with new_files(folder):
        folder.write_run(record)
        save_state(folder, state)
        started(folder, record, prepared.network)
    return state


def fresh_context(prepared: Prepared) -> NetworkContext:
    """The context of a run that has not begun."""
    return NetworkContext(
        prepared.network,
        prepared.train,
        prepared.request.device,
        loss=prepared.loss,
        validation_loader=prepared.validation,
        seed=prepared.request.seed,
    ).with_example()


def carry_on(
    folder: RunFolder,
    prepared: Prepared,
    state: RunState,
    watcher: Watcher,
    *,
    sinks: Sequence[Sink] = (),
    profiler: Profiler | None = None,
) -> RunState:
    """Evolves until all iterations are done, saving after each, then compares and reports.

    What happens is written to the run's spool before the run goes on. Whatever stops it, the folder
    is left whole: with the last finished iteration, its report and its picture.

    Args:
        folder: The run's.
        prepared: What the run is made of.
        state: Where it stands.
        watcher: Is told how it goes.
        sinks: Where its records go besides the spool.
        profiler: Measures where time and memory go, for the report.

    Raises:
        KeyboardInterrupt: It was stopped by Ctrl-C.
        StructureNetError: Training diverged, an edit was refused, a component failed, or the spool
            cannot be written.
        OSError: A file cannot be written.
    """
    with recording(folder, state, sinks) as records:
        warm_up()
        with profiler or nullcontext():
            profile = RunProfile(profiler, folder, records)
            return _recorded(folder, prepared, state, watcher, (records, profile))


def _recorded(
    folder: RunFolder,
    prepared: Prepared,
    state: RunState,
    watcher: Watcher,
    kept: Kept,
) -> RunState:
    reached = state
    records, profile = kept
    try:
        while reached.context.iteration < prepared.request.iterations:
            with blamed("The run stopped"):
                following = _one_iteration(prepared, reached, watcher, kept)
            with uninterrupted():
                records.iteration(following.iterations[-1])
                with section("saving"):
                    save_state(folder, following)
                profile.iteration(reached.context.iteration)
                reached = following
            watcher.iteration(reached.iterations[-1], of=prepared.request.iterations)
        with blamed("The comparison stopped"), section("comparison"):
            reached = replace(reached, scores=compare(prepared, reached, watcher))
    except KeyboardInterrupt:
        _conclude(folder, reached, kept, status="interrupted")
        raise
    except (StructureNetError, OSError) as error:
        _give_up(folder, reached, kept, error)
        raise
    _finish(folder, reached, kept)
    watcher.scored(reached.scores)
    return reached


def _finish(folder: RunFolder, state: RunState, kept: Kept) -> None:
    """Concludes a run whose iterations are all done; it has not finished if that fails."""
    try:
        _conclude(folder, state, kept, status="finished")
    except (StructureNetError, OSError) as error:
        _give_up(folder, state, kept, error)
        raise


def _give_up(folder: RunFolder, state: RunState, kept: Kept, error: Exception) -> None:
    # Where the disk is full, what is on it already must do.
    with suppress(OSError, SpoolError):
        _conclude(folder, state, kept, status="stopped", reason=str(error))


def warm_up() -> None:
    """Takes one step of an optimizer, so that what PyTorch loads then is in nobody's seconds."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.sum().backward()
    torch.optim.Adam([parameter]).step()


def _one_iteration(prepared: Prepared, state: RunState, watcher: Watcher, kept: Kept) -> RunState:
    history = state.context.history
    observing = _Observing(watcher, kept, history.last.elapsed if history.last else 0.0)
    context = prepared.system.evolve_network(state.context, 1, on_event=observing)
    summary = summarise(
        context,
        state.context.iteration,
        seconds=time.perf_counter() - observing.began,
        edited_at=observing.edited_at,
    )
    return RunState(context, (*state.iterations, summary))


class _Observing:
    """Hands the events of one iteration to whoever keeps or shows them.

    Args:
        watcher: Shows them.
        kept: Keep them.
        before: Seconds of training before the iteration.
    """

    def __init__(self, watcher: Watcher, kept: Kept, before: float) -> None:
        self._watcher, (self._records, self._profile) = watcher, kept
        self._before, self.began = before, time.perf_counter()
        self.edited_at: float | None = None

    @property
    def hears_steps(self) -> bool:
        """Whether one of them needs to know of a step."""
        return self._watcher.hears_steps or self._records.hears_steps or self._profile.hears_steps

    def __call__(self, event: Event) -> None:
        """Tells all of them."""
        self._records.observe(event)
        self._watcher.training(event)
        self._profile.saw(event)
        if event.kind in (EventKind.EDITED, EventKind.GREW_BY_HAND):
            self.edited_at = self._before + time.perf_counter() - self.began


def _conclude(
    folder: RunFolder, state: RunState, kept: Kept, *, status: Status, reason: str = ""
) -> None:
    records, profile = kept
    done = status == "finished"
    with uninterrupted():
        if not done:  # also where the disk has no room for the rest
            write_history(folder, state, status=status, reason=reason)
        costs = profile.concluded()
        write_report(folder, state, status=status, reason=reason, costs=costs)
        records.ended(state, status=status, reason=reason)
        if done:  # which is so when everything else is on the disk
            write_history(folder, state, status=status, reason=reason)


def write_report(
    folder: RunFolder,
    state: RunState,
    *,
    status: Status,
    reason: str = "",
    costs: Costs | None = None,
) -> None:
    """Writes ``report.md`` and ``evolution.png`` from ``run.json``, the state and the costs."""
    record = folder.read_run()
    facts = ReportFacts(
        name=folder.name,
        request=record.request,
        command=record.command,
        architecture=record.architecture,
        start_connections=record.start_connections,
        dataset=record.dataset,
        versions=record.versions,
        status=status,
        reason=reason,
        iterations=state.iterations,
        scores=state.scores,
        costs="" if costs is None else costs_of(costs, traced=folder.trace.is_file()),
    )
    title = (
        f"{Path(record.request.dataset).name}: {'-'.join(map(str, record.architecture))} "
        f"born with {100 * record.request.density:.3g} % of its connections"
    )
    birth = EvolutionPoint(0.0, record.start_parameters, record.start_connections)
    write_picture(folder, curve_of(birth, state, title=title))
    write_text(folder.report, render_report(facts))


def _plain(descriptor: DatasetDescriptor) -> dict[str, Any]:
    """The descriptor without the statistics, which follow from the rest and may be thousands."""
    statistics = ("mean", "deviation", "target_mean", "target_deviation")
    return {k: v for k, v in descriptor.as_dict().items() if k not in statistics}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("structure-net", "torch", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a source tree that is not installed
            found[name] = "not installed"
    return found
