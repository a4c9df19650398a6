"""A profiled run learns the same, and leaves records, a picture, a table and, if asked, a trace."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from matplotlib.patches import Rectangle

from structure_net.cli.app import main
from structure_net.evolution import ComposableEvolutionSystem, Event, EventKind
from structure_net.logging import Stored, current
from structure_net.logging.profiling import BESIDE, Costs, Profiler, SectionCost
from structure_net.runs import RunFolder, RunRequest, Watcher, begin, carry_on, prepare
from structure_net.runs.execution import fresh_context
from structure_net.runs.profiling import RunProfile, costs_of, findings_of, write_costs
from structure_net.visualization import plot_costs

REQUEST = RunRequest(dataset="spirals", density=0.2, iterations=2, epochs=2)


class Silent:
    """A sink that takes everything."""

    name = "silent"

    def open(self, source: object) -> None: ...

    def write(self, stored: Stored) -> None: ...

    def flush(self, deadline: float) -> None: ...

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = RunFolder(tmp_path_factory.mktemp("profiled") / "run")
    prepared = prepare(REQUEST)
    state = begin(folder, prepared, command=["evolve"])
    profiler = Profiler(trace=folder.trace)
    carry_on(folder, prepared, state, Watcher(), sinks=[Silent()], profiler=profiler)
    return folder


def profiles(folder: RunFolder) -> list[dict[str, object]]:
    return [dict(one.data) for one in current(folder.records) if one.kind == "profile"]


def names(profile: dict[str, object]) -> set[str]:
    sections = profile["sections"]
    assert isinstance(sections, list)
    return {section["name"] for section in sections}


def test_each_iteration_and_the_whole_run_leave_a_profile(profiled: RunFolder) -> None:
    assert [one["iteration"] for one in profiles(profiled)] == [0, 1, None]
    expected = {
        "analysis/analyzer StandardExtremaAnalyzer",
        "analysis/shared pass/forward",
        "strategy ExtremaGrowthStrategy/surgery",
        *(
            f"trainer StandardNetworkTrainer/{part}"
            for part in ("data", "forward", "loss", "backward", "optimizer", "validation")
        ),
        "trainer StandardNetworkTrainer/observers",
        "saving",
        "sink silent",
    }
    assert expected <= names(profiles(profiled)[-1])


def test_the_report_shows_the_table_and_the_picture(profiled: RunFolder) -> None:
    text = profiled.report.read_text(encoding="utf-8")
    assert "## Where the time went" in text
    assert "![Where the time went](profile.png)" in text
    assert "&ensp;&ensp;backward" in text
    assert "trace.json" in text
    assert profiled.profile.read_bytes().startswith(b"\x89PNG")


def test_what_is_done_once_has_a_row_of_its_own_wherever_it_happened() -> None:
    parts = (("trainer T", 8.0), ("trainer T/compiling", 2.0), ("compiling", 1.5))
    found = Costs(tuple(SectionCost(path, 3, seconds) for path, seconds in parts), 10.0)
    text = costs_of(found, traced=False)
    assert "| compiling, in all | 6 | 3.500 | 35.0% |" in text
    assert "35% of the time went into compiling" in text


def test_the_trace_opens_in_chrome(profiled: RunFolder) -> None:
    events = json.loads(profiled.trace.read_text(encoding="utf-8"))["traceEvents"]
    found = {event.get("name") for event in events}
    assert {"trainer StandardNetworkTrainer/backward", "analysis"} <= found


def test_a_run_that_is_not_profiled_leaves_nothing_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = ["evolve", "--dataset", "spirals", "--iterations", "1", "--out", str(out), "--json"]
    assert main(words) == 0
    folder = RunFolder(out)
    assert not profiles(folder)
    assert not folder.profile.exists()
    assert "Where the time went" not in folder.report.read_text(encoding="utf-8")
    assert findings_of(folder) == ()
    assert main(["resume", str(out), "--iterations", "2", "--profile"]) == 0
    assert [one["iteration"] for one in profiles(folder)] == [1, None]
    printed = capsys.readouterr()
    assert findings_of(folder)
    assert all(one in printed.out + printed.err for one in findings_of(folder))
    assert not folder.trace.exists()


def test_profiling_changes_nothing_that_is_learned() -> None:
    one, other = (prepare(REQUEST) for _ in range(2))
    plain = one.system.evolve_network(fresh_context(one), 2)
    watched = other.system.evolve_network(fresh_context(other), 2, profile=True)
    pairs = zip(plain.network.parameters(), watched.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert one.system.costs is None
    assert other.system.costs is not None


def test_observers_are_told_the_costs_and_a_profiler_of_ones_own_is_added_to() -> None:
    heard: list[Event] = []
    prepared, profiler = prepare(REQUEST), Profiler()
    context = fresh_context(prepared)
    for _ in range(2):
        context = prepared.system.evolve_network(
            context, 1, on_event=heard.append, profile=profiler
        )
    told = [event for event in heard if event.kind is EventKind.PROFILED]
    assert len(told) == 2
    trained = "trainer StandardNetworkTrainer"
    calls = {one.path: one.calls for one in told[-1].detail["costs"].sections}
    assert calls[trained] == 2
    assert isinstance(told[-1].detail["findings"], tuple)


def test_costs_are_there_when_training_fails() -> None:
    system = ComposableEvolutionSystem()
    prepared = prepare(REQUEST)
    with pytest.raises(KeyboardInterrupt):
        system.evolve_network(fresh_context(prepared), 1, on_event=_stop, profile=True)
    assert system.costs is not None


def _stop(event: Event) -> None:
    raise KeyboardInterrupt


def test_a_picture_shows_each_section_below_the_one_that_it_lies_in(tmp_path: Path) -> None:
    costs = Costs(
        (
            SectionCost("trainer T", 1, 6.0),
            SectionCost("trainer T/forward", 9, 2.0),
            SectionCost("trainer T/backward", 9, 3.0),
            SectionCost(f"{BESIDE}wandb", 9, 30.0),
        ),
        8.0,
    )
    ax = plot_costs(costs)
    found = [one for one in ax.patches if isinstance(one, Rectangle)]
    boxes = {(one.get_x(), one.get_y(), one.get_width()) for one in found}
    assert boxes == {(0, 0, 8), (0, 1, 6), (0, 2, 3), (3, 2, 2)}
    folder = RunFolder(tmp_path)
    write_costs(folder, costs)
    assert folder.profile.is_file()
    assert "| sink wandb | 9 |" in costs_of(costs, traced=False)


def test_without_a_profiler_nothing_is_done(profiled: RunFolder) -> None:
    profile = RunProfile(None, profiled, None)  # type: ignore[arg-type]
    profile.saw(Event(EventKind.STEP_FINISHED, 0))
    profile.iteration(0)
    assert profile.concluded() is None
