"""What each command does, between the flags and the library."""

from __future__ import annotations

import json
import random
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch

from structure_net.cli.console import (
    emit,
    fail,
    iteration_table,
    people,
    plain_table,
    said_of,
    score_table,
)
from structure_net.cli.progress import live_display
from structure_net.core import network_stats
from structure_net.errors import StructureNetError
from structure_net.logging import Sink
from structure_net.logging.profiling import Profiler
from structure_net.runs import (
    Prepared,
    RunFolder,
    RunRequest,
    RunState,
    begin,
    carry_on,
    describe_edit,
    foresee,
    free_folder,
    known_folder,
    prepare,
    resumed,
    verify,
)
from structure_net.runs.comparing import trainers_of
from structure_net.runs.profiling import findings_of
from structure_net.surgery.entries import Entry
from structure_net.surgery.journal import Journal
from structure_net.surgery.lineage import JournalDiff, describe
from structure_net.surgery.lineage import diff as compare_journals

INVALID = 2
_STATUS = {
    "finished": "finished",
    "interrupted": "interrupted",
    "stopped": "stopped",
    "running": "still running, or killed",
}
_MARKS = {True: "agrees", False: "DIFFERS", None: "?"}
INTERRUPTED = 130
DEMO = RunRequest(
    dataset="digits",
    architecture=(64, 96, 48, 10),
    density=0.02,
    iterations=6,
    epochs=6,
    baseline=True,
)


def evolve(
    request: RunRequest,
    command: Sequence[str],
    *,
    out: str | None,
    as_json: bool,
    profiled: tuple[bool, bool] = (False, False),
    sinks: Sequence[Sink] = (),
) -> int:
    """Evolves a network in a new run folder; ``profiled``: whether, and whether with a trace."""
    folder = free_folder(_default_name(request.dataset) if out is None else out)
    _seed(request.seed)
    prepared = prepare(request)
    if request.baseline:
        trainers_of(prepared.system)
    state = begin(folder, prepared, command=command)
    watching = Watching(_profiler(folder, request.device, profiled), sinks)
    return _carry_on(folder, prepared, state, watching, as_json=as_json)


@dataclass(frozen=True, slots=True)
class Watching:
    """Who looks on at a run.

    Args:
        profiler: Measures where time and memory go.
        sinks: Where records go besides the spool.
    """

    profiler: Profiler | None
    sinks: Sequence[Sink] = ()


def _profiler(folder: RunFolder, device: str, wanted: tuple[bool, bool]) -> Profiler | None:
    profiled, traced = wanted
    return Profiler(device=device, trace=folder.trace if traced else None) if profiled else None


def _seed(seed: int) -> None:
    """Seeds the global generators, which a pipeline of the user's own may draw from.

    The framework itself draws from none of them; this process, though, belongs to the command.
    """
    random.seed(seed)
    torch.manual_seed(seed)


def demo(command: Sequence[str], *, seed: int, out: str | None, as_json: bool) -> int:
    """Evolves the demonstration's network."""
    return evolve(
        replace(DEMO, seed=seed),
        command,
        out=_default_name("demo") if out is None else out,
        as_json=as_json,
    )


def resume(  # noqa: PLR0913 - one argument for each flag
    run: str,
    *,
    iterations: int | None,
    data_dir: str | None,
    baseline: bool,
    as_json: bool,
    profiled: tuple[bool, bool] = (False, False),
    sinks: Sequence[Sink] = (),
) -> int:
    """Goes on with a run."""
    folder = known_folder(run)
    # A sum's last bit depends on how many threads shared it.
    torch.set_num_threads(folder.read_run().threads)
    prepared, state = resumed(folder, iterations=iterations, data_dir=data_dir, baseline=baseline)
    watching = Watching(_profiler(folder, prepared.request.device, profiled), sinks)
    return _carry_on(folder, prepared, state, watching, as_json=as_json)


def _carry_on(
    folder: RunFolder,
    prepared: Prepared,
    state: RunState,
    watching: Watching,
    *,
    as_json: bool,
) -> int:
    console = people(quiet=as_json)
    try:
        with live_display(console) as watcher:
            watcher.began(
                _headline(prepared, state),
                epochs=prepared.request.total_epochs,
                done=len(state.context.history),
            )
            reached = carry_on(
                folder,
                prepared,
                state,
                watcher,
                sinks=watching.sinks,
                profiler=watching.profiler,
            )
    except KeyboardInterrupt:
        fail(f"interrupted; go on with: structure-net resume {shlex.quote(folder.name)}")
        return INTERRUPTED
    except (StructureNetError, OSError) as error:
        said = said_of(error) if isinstance(error, OSError) else str(error)
        fail(f"{said} What was reached before is kept in {folder.name}.")
        return INVALID
    if as_json:
        emit({"run": folder.name, **_outcome(reached)})
    else:
        if watching.profiler is not None:
            for line in findings_of(folder):
                console.print(line, soft_wrap=True, markup=False, highlight=False)
        console.print(f"report: {folder.report}", soft_wrap=True, markup=False)
        console.print(folder.name, soft_wrap=True, markup=False)
    return 0


def _outcome(state: RunState) -> dict[str, Any]:
    return {
        "iterations": [asdict(summary) for summary in state.iterations],
        "scores": [asdict(score) for score in state.scores],
    }


def _headline(prepared: Prepared, state: RunState) -> str:
    network = state.context.network
    stats = network_stats(network)
    sizes = prepared.dataset.descriptor.sizes
    verb = "resumes" if state.iterations else "starts"
    widths = "-".join(str(layer["outputs"]) for layer in stats["layers"])
    return (
        f"{prepared.request.dataset} ({sizes['train']:,} samples to train on): "
        f"{stats['layers'][0]['inputs']}-{widths} {verb} with "
        f"{stats['total_connections']:,} connections ({stats['density']:.2%})"
    )


def dry_run(request: RunRequest, *, as_json: bool) -> int:
    """Prints what would be edited first, and writes nothing."""
    foreseen = foresee(request)
    if as_json:
        emit({"edits": [asdict(edit) for edit in foreseen]})
        return 0
    console = people(quiet=False)
    if not foreseen:
        console.print("Nothing would be edited.")
        return 0
    rows = [(e.component, e.edit, e.reason, e.change) for e in foreseen]
    console.print(plain_table(("by", "edit", "why", "what changes"), rows))
    console.print("Nothing was written.")
    return 0


def show(run: str, *, as_json: bool) -> int:
    """Prints what was asked of a run and what happened in it."""
    folder = known_folder(run)
    record, history = folder.read_run(), folder.read_history()
    if as_json:
        said = {"run": record.model_dump(mode="json"), "history": history.model_dump(mode="json")}
        emit({"folder": folder.name, **said})
        return 0
    console = people(quiet=False)
    widths = "-".join(str(width) for width in record.architecture)
    console.print(
        f"{folder.name}: {_STATUS[history.status]}, {len(history.iterations)} of "
        f"{record.request.iterations} iterations. {history.reason}".rstrip(),
        soft_wrap=True,
        markup=False,
    )
    console.print(
        f"{record.request.dataset}, {widths}, {record.start_connections:,} connections at birth, "
        f"seed {record.request.seed}, since {record.created}",
        soft_wrap=True,
        markup=False,
    )
    if history.iterations:
        console.print(iteration_table(history.iterations))
    if history.scores:
        console.print(score_table(history.scores))
    return 0


def replay(run: str, *, as_json: bool) -> int:
    """Rebuilds a run's network and says whether all agrees; 1 if it does not."""
    folder = known_folder(run)
    findings = verify(folder)
    agrees = all(finding.agrees is not False for finding in findings)
    if as_json:
        emit({"agrees": agrees, "findings": [asdict(finding) for finding in findings]})
        return 0 if agrees else 1
    console = people(quiet=False)
    for finding in findings:
        mark = _MARKS[finding.agrees]
        console.print(f"{mark:<8} {finding.what}: {finding.detail}", soft_wrap=True, markup=False)
    console.print("All agrees." if agrees else "Not everything agrees.")
    return 0 if agrees else 1


def diff(run_a: str, run_b: str, *, as_json: bool) -> int:
    """Compares two lineages."""
    names = (run_a, run_b)
    one, two = (Journal.load(known_folder(run).journal) for run in names)
    found = compare_journals(one, two, names=names)
    if as_json:
        emit(_diff_document(found))
    else:
        console = people(quiet=False)
        console.print(_shared(found), soft_wrap=True, markup=False)
        if not found.same:
            console.print(plain_table(names, _apart(found), left=True))
        widths = _widths(found)
        console.print(plain_table(("layer", *names), widths))
    return 0


def _shared(found: JournalDiff) -> str:
    count = len(found.common)
    steps = f"{count} common step{'' if count == 1 else 's'}"
    return f"{steps}; no difference." if found.same else f"{steps}, then:"


def _apart(found: JournalDiff) -> list[tuple[str, str]]:
    """What each lineage did by itself, side by side."""
    left, right = ([_step(entry) for entry in side] for side in (found.left, found.right))
    return list(zip_longest(left, right, fillvalue=""))


def _step(entry: Entry) -> str:
    edit = getattr(entry, "edit", None)
    if edit is None:
        return describe(entry)
    # People count iterations from 1; the start stands at 0.
    return f"{entry.iteration + 1}: {describe_edit(edit)}"


def _widths(found: JournalDiff) -> list[tuple[str, str, str]]:
    left, right = found.left_widths, found.right_widths
    return [
        (layer, str(left.get(layer, "-")), str(right.get(layer, "-")))
        for layer in dict.fromkeys([*left, *right])
    ]


def _diff_document(found: JournalDiff) -> dict[str, Any]:
    def steps(entries: Sequence[Any]) -> Any:
        return json.loads(Journal(entries).to_json())["entries"]

    return {
        "runs": list(found.names),
        "same": found.same,
        "common": steps(found.common),
        "only_a": steps(found.left),
        "only_b": steps(found.right),
        "widths_a": dict(found.left_widths),
        "widths_b": dict(found.right_widths),
    }


def _default_name(what: str) -> str:
    """A folder under ``runs/`` that is named after the data and the time."""
    stem = Path(what).stem.partition(":")[0]
    return str(Path("runs") / f"{stem}-{datetime.now().astimezone():%Y%m%d-%H%M%S}")
