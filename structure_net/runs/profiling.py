"""What a profiled run leaves of its costs: records, a picture, a table, a trace."""

from __future__ import annotations

from typing import Final

from structure_net.evolution import Event, EventKind
from structure_net.files import replacing
from structure_net.logging import current
from structure_net.logging.profiling import (
    BESIDE,
    ONCE,
    Costs,
    Profiler,
    SectionCost,
    bottlenecks,
)
from structure_net.runs.folder import RunFolder
from structure_net.runs.spooling import RunRecords
from structure_net.visualization import plot_costs

TRACED_STEPS: Final = 100
"""Training steps after which a trace ends: it takes some kilobytes with each."""

_LEAST_SHARE: Final = 0.001
_MIB: Final = 1 << 20


class RunProfile:
    """The profiler of a run, if it has one; without one, nothing is done.

    Args:
        profiler: Is entered already.
        folder: The run's.
        records: The run's.
    """

    def __init__(self, profiler: Profiler | None, folder: RunFolder, records: RunRecords) -> None:
        self._profiler = profiler
        self._folder = folder
        self._records = records
        self._steps = 0
        self._told = Costs((), 0.0)

    @property
    def hears_steps(self) -> bool:
        """Whether there is a trace, whose end is counted in steps."""
        return self._profiler is not None and self._profiler.tracing

    def saw(self, event: Event) -> None:
        """An event of the run's system; the trace ends with the hundredth step."""
        if self._profiler is None or event.kind is not EventKind.STEP_FINISHED:
            return
        self._steps += 1
        if self._steps == TRACED_STEPS:
            self._profiler.end_trace()

    def iteration(self, number: int) -> None:
        """An iteration, counted from 0, is over: what it cost becomes a record."""
        if self._profiler is not None:
            costs = self._costs(self._profiler)
            self._records.profiled(costs.since(self._told), iteration=number)
            self._told = costs

    def concluded(self) -> Costs | None:
        """The run is over: the costs of all that was done, as a record and a picture, too."""
        if self._profiler is None:
            return None
        self._profiler.end_trace()
        costs = self._costs(self._profiler)
        self._records.profiled(costs)
        write_costs(self._folder, costs)
        return costs

    def _costs(self, profiler: Profiler) -> Costs:
        self._records.note_sinks(profiler)
        return profiler.costs()


def findings_of(folder: RunFolder) -> tuple[str, ...]:
    """The bottlenecks that the report names, as the records of a run tell them."""
    profiles = [one for one in current(folder.records) if one.kind == "profile"]
    return tuple(profiles[-1].data["findings"]) if profiles else ()


def write_costs(folder: RunFolder, costs: Costs) -> None:
    """Writes ``profile.png``, whole or not at all."""
    figure = plot_costs(costs).get_figure(root=True)
    assert figure is not None
    with replacing(folder.profile) as draft:
        figure.savefig(draft, format="png")


def costs_of(costs: Costs, *, traced: bool) -> str:
    """The costs as a part of a report, in Markdown: findings, picture, table.

    Args:
        costs: Of the run.
        traced: Whether there is a trace.
    """
    said = [f"- {one}" for one in bottlenecks(costs)] or ["- No part stands out."]
    shown = [one for one in (*costs.sections, *_once(costs)) if _worth_a_row(one, costs)]
    device = any(one.device_seconds is not None for one in shown)
    heads = ["section", "calls", "seconds", "share", "ms a call", *["device s"] * device, "MiB"]
    rows = [heads, ["---"] * len(heads), *(_row(one, costs, device=device) for one in shown)]
    table = [f"| {' | '.join(row)} |" for row in rows]
    parts = [["## Where the time went"], said, ["![Where the time went](profile.png)"], table]
    parts.append([_READING.format(seconds=costs.seconds)])
    if traced:
        parts.append(["The first operations are in `trace.json`; open it in ui.perfetto.dev."])
    return "\n\n".join("\n".join(part) for part in parts)


_READING: Final = (
    "All in all {seconds:.1f} s, since the run began or was resumed. A section's time holds that of"
    " the sections in it, which stand below it; sinks run beside the run, and their time is what"
    " their threads computed. MiB: the most memory that was held in the section beyond what was"
    " held before (of the device, where there is one)."
)


def _once(costs: Costs) -> list[SectionCost]:
    """What is done once on a machine: all sections of a name together, wherever they lie."""
    found = []
    for name in ONCE:
        same = [one for one in costs.sections if one.name == name]
        if same:
            calls, seconds = sum(one.calls for one in same), sum(one.seconds for one in same)
            found.append(SectionCost(f"{name}, in all", calls, seconds))
    return found


def _worth_a_row(one: SectionCost, costs: Costs) -> bool:
    return one.seconds >= _LEAST_SHARE * costs.seconds or one.path.startswith(BESIDE)


def _row(one: SectionCost, costs: Costs, *, device: bool) -> list[str]:
    peak = one.peak_bytes if one.device_peak_bytes is None else one.device_peak_bytes
    timed = (
        [] if not device else ["" if one.device_seconds is None else f"{one.device_seconds:.3g}"]
    )
    return [
        "&ensp;" * 2 * one.depth + one.name,
        f"{one.calls:,}",
        f"{one.seconds:.3f}",
        f"{one.seconds / max(costs.seconds, 1e-12):.1%}",
        f"{1000 * one.seconds / max(one.calls, 1):.3g}",
        *timed,
        "" if peak is None else f"{peak / _MIB:.1f}",
    ]
