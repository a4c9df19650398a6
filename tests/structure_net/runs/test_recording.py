"""What a run writes to its spool: everything that happened, once, in order, also when resumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from structure_net import create_standard_network
from structure_net.errors import SpoolError
from structure_net.evolution import (
    ComposableEvolutionSystem,
    EditingStrategy,
    EventKind,
    GrowthStrategy,
    NetworkContext,
    Trial,
)
from structure_net.evolution.analysis import Analysis, Lazy
from structure_net.evolution.components import StandardNetworkTrainer
from structure_net.evolution.events import Event
from structure_net.evolution.metrics.validity import Unavailable
from structure_net.logging import RecordStream, Spool, Stored, check_blob, current, read
from structure_net.runs import RunFolder, RunRequest, Watcher, begin, carry_on, prepare, resumed
from structure_net.runs.brevity import brief
from structure_net.runs.recording import Recorder
from structure_net.surgery.edits import AddNeurons
from tests.interrupting import interrupted_everywhere

REQUEST = RunRequest(dataset="spirals", density=0.2, iterations=2, epochs=2)


def made(path: Path, request: RunRequest = REQUEST) -> RunFolder:
    folder, prepared = RunFolder(path), prepare(request)
    state = begin(folder, prepared, command=["evolve"])
    carry_on(folder, prepared, state, Watcher())
    return folder


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return made(tmp_path_factory.mktemp("recorded") / "run")


def of(folder: RunFolder, kind: str) -> list[Stored]:
    return [stored for stored in current(folder.records) if stored.kind == kind]


def test_a_run_begins_and_ends_in_its_spool(ended: RunFolder) -> None:
    first, *_, last = read(ended.records)
    run = ended.read_run()
    assert (first.kind, last.kind) == ("run_started", "run_ended")
    assert first.data["config"]["density"] == run.request.density
    assert first.data["dataset"] == run.dataset
    assert first.data["network"]["connections"] == run.start_connections
    assert last.data["status"] == "finished"
    assert last.data["scores"][0]["name"] == "evolved"


def test_every_record_of_a_run_is_valid(ended: RunFolder) -> None:
    assert all(stored.record.kind == stored.kind for stored in read(ended.records))


def test_the_epochs_of_the_spool_are_those_of_the_history(ended: RunFolder) -> None:
    assert [stored.data for stored in of(ended, "epoch")] == list(ended.read_history().epochs)


def test_the_iterations_of_the_spool_are_those_of_the_history(ended: RunFolder) -> None:
    summaries = ended.read_history().iterations
    stored = [one.data for one in of(ended, "iteration")]
    assert [one["iteration"] + 1 for one in stored] == [one.iteration for one in summaries]
    assert [one["network"]["widths"] for one in stored] == [
        list(one.architecture) for one in summaries
    ]
    assert [one["label"] for one in stored] == [one.label for one in summaries]


def test_the_edits_of_the_spool_are_those_of_the_journal(ended: RunFolder) -> None:
    from structure_net.surgery.journal import Journal
    from structure_net.surgery.records import entry_to_data

    entries = [entry_to_data(entry) for entry in Journal.load(ended.journal).edits]
    stored = [one.record for one in of(ended, "edit")]
    assert stored
    assert [one.edit["layer"] for one in stored] == [e["edit"]["layer"] for e in entries]  # type: ignore[attr-defined]
    assert [one.seed for one in stored] == [entry["seed"] for entry in entries]  # type: ignore[attr-defined]
    assert [one.reason for one in stored] == [entry["reason"] for entry in entries]  # type: ignore[attr-defined]
    growths = of(ended, "growth")
    assert {growth.data["outcome"] for growth in growths} == {"accepted"}
    assert sum(len(growth.data["edits"]) for growth in growths) == len(stored)


def test_the_analysis_stands_before_the_edits_that_follow_from_it(ended: RunFolder) -> None:
    kinds = [stored.kind for stored in read(ended.records)]
    assert kinds[1:4] == ["analysis", "edit", "growth"]
    (first, *_) = of(ended, "analysis")
    assert first.data["values"]["network_connections"] == ended.read_run().start_connections


def test_the_files_of_a_finished_run_are_artifacts(ended: RunFolder) -> None:
    artifacts = {one.data["type"]: one.data for one in of(ended, "artifact")}
    assert set(artifacts) == {"checkpoint", "journal", "report", "picture"}
    checkpoint = artifacts["checkpoint"]
    kept = check_blob(ended.records, checkpoint["digest"])
    assert kept.path.read_bytes() == ended.checkpoint.read_bytes()
    assert artifacts["report"]["made_from"] == [checkpoint["digest"]]


def test_a_resumed_run_goes_on_in_its_spool_and_says_what_no_longer_stands(tmp_path: Path) -> None:
    folder = made(tmp_path / "run")
    before = list(read(folder.records))
    prepared, state = resumed(folder, iterations=3)
    carry_on(folder, prepared, state, Watcher())
    after = list(read(folder.records))
    assert [one.text for one in after[: len(before)]] == [one.text for one in before]
    mark = after[len(before)]
    assert (mark.kind, mark.data["iteration"]) == ("resumed", 2)
    assert before[mark.data["after"] - 1].kind == "iteration"
    standing = [one.kind for one in current(folder.records)]
    assert standing.count("run_ended") == standing.count("run_started") == 1
    assert [one.data["epoch"] for one in of(folder, "epoch")] == [1, 2, 3, 4, 5, 6]
    assert of(folder, "analysis")[-1].data["epoch"] == 4


class Stopping(Watcher):
    """Stops the run by Ctrl-C in the middle of an epoch's report."""

    def epoch(self, number, metrics) -> None:
        if number == 3:
            raise KeyboardInterrupt


def test_what_an_interrupted_iteration_wrote_is_superseded(tmp_path: Path) -> None:
    folder, prepared = RunFolder(tmp_path / "run"), prepare(REQUEST)
    state = begin(folder, prepared, command=["evolve"])
    with pytest.raises(KeyboardInterrupt):
        carry_on(folder, prepared, state, Stopping())
    assert [one.data["epoch"] for one in of(folder, "epoch")] == [1, 2, 3]
    assert of(folder, "run_ended")[0].data["status"] == "interrupted"
    prepared, state = resumed(folder)
    carry_on(folder, prepared, state, Watcher())
    assert [one.data["epoch"] for one in of(folder, "epoch")] == [1, 2, 3, 4]
    assert [one.data["status"] for one in of(folder, "run_ended")] == ["finished"]
    epochs = [one.data for one in of(folder, "epoch")]
    assert epochs == list(folder.read_history().epochs)


def test_a_run_from_before_there_were_records_is_resumed_with_some(tmp_path: Path) -> None:
    import shutil

    folder = made(tmp_path / "run")
    shutil.rmtree(folder.records)
    prepared, state = resumed(folder, iterations=3)
    carry_on(folder, prepared, state, Watcher())
    assert [one.kind for one in read(folder.records)][:2] == ["run_started", "resumed"]
    assert [one.data["epoch"] for one in of(folder, "epoch")] == [5, 6]


def test_a_run_whose_spool_is_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    folder = made(tmp_path / "run")
    prepared, state = resumed(folder, iterations=3)
    with (
        Spool(folder.records),
        pytest.raises(SpoolError, match="being written by another program"),
    ):
        carry_on(folder, prepared, state, Watcher())
    assert folder.read_history().status == "finished"


def test_a_full_spool_stops_the_run_and_keeps_its_last_iteration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk: the operating system refuses to write behind the first iteration."""
    import os

    write = os.write

    def refuse(descriptor: int, data: bytes) -> int:
        if b'"kind":"epoch"' in data and b'"epoch":3' in data:
            raise OSError(28, "No space left on device")
        return write(descriptor, data)

    folder, prepared = RunFolder(tmp_path / "run"), prepare(REQUEST)
    state = begin(folder, prepared, command=["evolve"])
    monkeypatch.setattr("structure_net.logging.spool.os.write", refuse)
    with pytest.raises(SpoolError, match=r"records\.jsonl cannot be written: No space left"):
        carry_on(folder, prepared, state, Watcher())
    monkeypatch.undo()
    assert "No space left" in folder.read_history().reason
    assert len(folder.read_history().iterations) == 1
    assert [one.seq for one in read(folder.records)] == list(
        range(1, len(list(read(folder.records))) + 1)
    )
    prepared, state = resumed(folder)
    carry_on(folder, prepared, state, Watcher())
    assert [one.data["epoch"] for one in of(folder, "epoch")] == [1, 2, 3, 4]


class Widening(GrowthStrategy):
    """Puts another layer in place, by hand."""

    def should_grow(self, context, analysis) -> bool:
        return True

    def grow(self, context, analysis):
        layers = context.network.layers
        layers[-1] = torch.nn.Linear(layers[-1].in_features, layers[-1].out_features)
        return context


class Wider(EditingStrategy):
    """Widens the first layer."""

    def propose(self, context, analysis):
        return [AddNeurons("layers.0", 4)]


def events_of(tmp_path: Path, system: ComposableEvolutionSystem, **changes) -> list[Stored]:
    inputs = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
    targets = inputs.sum(1).gt(0).long()
    network = create_standard_network([4, 16, 2], density=0.5, seed=0)
    context = NetworkContext(
        network, [(inputs, targets)], validation_loader=[(inputs, targets)], **changes
    )
    with RecordStream(Spool(tmp_path)) as stream:
        recorder = Recorder(stream)
        system.evolve_network(context, 1, on_event=recorder)
        recorder.settle()
    return list(read(tmp_path))


def test_growth_by_hand_is_recorded_as_opaque_with_both_architectures(tmp_path: Path) -> None:
    records = events_of(tmp_path, ComposableEvolutionSystem([Widening()]))
    (growth,) = [one.data for one in records if one.kind == "growth"]
    assert (growth["outcome"], growth["component"]) == ("opaque", "Widening")
    assert growth["before"] != growth["after"]


def test_growth_that_a_trial_rejects_is_recorded_as_refused_with_what_was_measured(
    tmp_path: Path,
) -> None:
    system = ComposableEvolutionSystem([StandardNetworkTrainer(1)])
    never = Trial(batches=1, performance_drop_threshold=-0.99)
    system.add_component(Wider(), whether=never)
    records = events_of(tmp_path, system)
    (growth,) = [one.data for one in records if one.kind == "growth"]
    assert (growth["outcome"], growth["component"]) == ("refused", "Wider")
    assert growth["edits"] == ["+4 neurons in layers.0"]
    assert growth["measured"]
    assert not [one for one in records if one.kind == "edit"]


def test_edits_that_nothing_follows_are_written_when_the_stream_is_closed(tmp_path: Path) -> None:
    said = {"trigger": "", "reason": "so", "seed": 1, "changes": (), "measured": {}}
    edits = [AddNeurons("a", 1), AddNeurons("b", 2)]
    events = [Event(EventKind.EDITED, 0, "Wider", detail={"edit": edit, **said}) for edit in edits]

    def interrupted() -> None:
        with RecordStream(Spool(tmp_path)) as stream:
            recorder = Recorder(stream)
            for event in events:
                recorder(event)
            assert recorder.hears_steps
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    first, second, growth = read(tmp_path)
    assert [first.data["text"], second.data["text"]] == growth.data["edits"]


def test_what_waits_is_written_once_wherever_ctrl_c_comes(tmp_path: Path) -> None:
    def waiting(place: int) -> tuple[RecordStream, Recorder]:
        stream = RecordStream(Spool(tmp_path / str(place)))
        recorder = Recorder(stream)
        said = {"trigger": "", "reason": "so", "seed": 1, "changes": (), "measured": {}}
        for edit in (AddNeurons("a", 1), AddNeurons("b", 2)):
            recorder(Event(EventKind.EDITED, 0, "Wider", detail={"edit": edit, **said}))
        return stream, recorder

    now, count = [waiting(0)], 0

    def settle() -> None:
        now[0][1].settle()

    files = ("runs/recording.py", "logging/stream.py", "logging/spool.py")
    for _held in interrupted_everywhere(settle, files):
        stream, recorder = now[0]
        recorder.settle()
        stream.close()
        kinds = [stored.kind for stored in read(tmp_path / str(count))]
        assert kinds == ["edit", "edit", "growth"], count
        count += 1
        now[0] = waiting(count)
    now[0][0].close()
    assert count > 20


def test_recording_computes_no_value_of_an_analysis(tmp_path: Path) -> None:
    read_ones: list[str] = []
    lazy = Lazy(lambda: read_ones.append("late") or 1.0)
    asked = Lazy(lambda: 2.0)
    values = {"now": 0.5, "late": lazy, "asked": asked, "large": list(range(10_000))}
    analysis = Analysis(values, {})
    assert not asked.computed
    with RecordStream(Spool(tmp_path)) as stream:
        recorder = Recorder(stream)
        told = {"analysis": analysis, "epoch": 3, "step": 30}
        recorder(Event(EventKind.ANALYZED, 1, detail=told))
        assert analysis["asked"] == 2.0
        assert analysis.computed == ("now", "asked", "large")
        assert recorder.hears_steps
        recorder(Event(EventKind.STEP_FINISHED, 1, detail={"batch": 1, "batches": None}))
        assert not recorder.hears_steps
    (stored,) = read(tmp_path)
    assert stored.data == {
        "iteration": 1,
        "epoch": 3,
        "step": 30,
        "values": {"now": 0.5, "asked": 2.0},
        "left_out": ["late", "large"],
    }
    assert not read_ones


def test_what_is_brief_is_short_plain_data() -> None:
    assert brief({("a", "b"): (1, np.float64(0.5)), "c": Unavailable("too few")}) == {
        "a,b": [1, 0.5],
        "c": {"unavailable": "too few"},
    }
    assert brief(torch.tensor(2.0)) == 2.0
    assert brief(torch.zeros(3)) is None
    assert brief(list(range(5)), most=4) is None
    assert brief(object()) is None
