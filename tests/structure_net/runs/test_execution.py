"""A run without the command line: prepared, begun, carried on, checked, foreseen, resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from structure_net.errors import RunError
from structure_net.runs import (
    Finding,
    Foreseen,
    PipelineSource,
    Prepared,
    RunFolder,
    RunRequest,
    RunState,
    Watcher,
    begin,
    carry_on,
    foresee,
    free_folder,
    prepare,
    resumed,
    verify,
)

REQUEST = RunRequest(dataset="spirals", density=0.2, iterations=2, epochs=1)


class Counting(Watcher):
    """Counts what it is told."""

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.iterations = 0

    def epoch(self, number, metrics) -> None:
        self.epochs.append(number)

    def iteration(self, summary, *, of) -> None:
        self.iterations += 1


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, RunState, Counting]:
    folder, prepared = free_folder(tmp_path_factory.mktemp("runs") / "run"), prepare(REQUEST)
    assert isinstance(prepared, Prepared)
    watcher = Counting()
    state = begin(folder, prepared, command=["evolve"])
    return folder, carry_on(folder, prepared, state, watcher), watcher


def test_a_watcher_hears_of_every_epoch_and_iteration(ended) -> None:
    _, state, watcher = ended
    assert isinstance(state, RunState)
    assert watcher.epochs == [1, 2]
    assert watcher.iterations == len(state.iterations) == state.context.iteration == 2


def test_the_files_of_a_run_agree(ended) -> None:
    findings = verify(ended[0])
    assert all(isinstance(one, Finding) for one in findings)
    assert {one.what for one in findings} >= {"journal", "history", "architecture", "tensors"}
    assert all(one.agrees for one in findings), findings


def test_a_run_that_ended_is_resumed_at_its_end(ended) -> None:
    folder, state, _ = ended
    prepared, again = resumed(folder)
    assert prepared.request == REQUEST
    assert again.context.iteration == 2
    assert again.context.journal == state.context.journal


def test_what_is_foreseen_is_what_the_first_iteration_does(ended, tmp_path: Path) -> None:
    seen = foresee(REQUEST)
    assert all(isinstance(one, Foreseen) for one in seen)
    first = [entry for entry in ended[1].context.journal.edits if entry.iteration == 0]
    assert first
    assert [one.reason for one in seen] == [entry.reason for entry in first]


def test_a_pipeline_whose_file_changed_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.py"
    file.write_text("def build():\n    return None\n")
    request = replace(REQUEST, pipeline=PipelineSource(str(file), "build", "0" * 64))
    with pytest.raises(RunError, match="changed since the run began"):
        prepare(request)
