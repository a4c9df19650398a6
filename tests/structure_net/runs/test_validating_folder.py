"""A run's files are checked to the last byte, and against each other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import pytest

from structure_net.errors import CheckpointError, SpoolError
from structure_net.logging import read
from structure_net.logging.sending import read_status
from structure_net.logging.sending.state import QueueState, write_state
from structure_net.logging.series import check_series, rebuild
from structure_net.logging.sinks import SeriesSink
from structure_net.runs import RunFolder, RunRequest, Watcher, begin, carry_on, prepare
from structure_net.runs.restoring import resumed
from structure_net.runs.validating import validate
from structure_net.surgery.checkpoint import verify_checkpoint


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = RunFolder(tmp_path_factory.mktemp("validated") / "run")
    prepared = prepare(RunRequest(dataset="spirals", density=0.2, iterations=1, epochs=2))
    state = begin(folder, prepared, command=["evolve"])
    carry_on(folder, prepared, state, Watcher(), sinks=[SeriesSink()])
    return folder.path


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def lines(path: Path) -> list[str]:
    return [str(problem).removeprefix(f"{path}") for problem in validate(path)]


def test_a_changed_weight_of_a_checkpoint_is_told(copied: Path) -> None:
    path = copied / "checkpoint.safetensors"
    verify_checkpoint(path)
    data = bytearray(path.read_bytes())
    data[-9] ^= 0xFF
    path.write_bytes(data)
    (line,) = lines(copied)
    assert line.startswith("/checkpoint.safetensors: the tensors: is damaged: tensor '")
    with pytest.raises(CheckpointError, match="does not agree with its checksum"):
        verify_checkpoint(path)


def test_the_epochs_of_a_history_are_checked(copied: Path) -> None:
    path = copied / "history.json"
    document = json.loads(path.read_text())
    document["epochs"][1]["epoch"] = "two"
    path.write_text(json.dumps(document))
    (line,) = lines(path)
    assert line.startswith(": epochs.1: epoch: input should be a valid integer")


@pytest.mark.parametrize("name", ["run.json", "journal.json", "checkpoint.safetensors"])
def test_a_missing_file_of_a_run_is_told(copied: Path, name: str) -> None:
    (copied / name).unlink()
    assert lines(copied) == [f"/{name}: it is missing, and every run has it"]


def test_a_missing_spool_and_a_missing_end_of_it_are_told(copied: Path) -> None:
    path = copied / "records" / "records.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    (line,) = lines(copied)
    assert "the end of the run is missing, though history.json says" in line
    (copied / "records" / "series.h5").unlink()
    path.unlink()
    (line,) = lines(copied)
    assert line.startswith("/records/records.jsonl: it is missing")


def test_time_series_are_compared_with_the_spool(copied: Path) -> None:
    path = copied / "records" / "series.h5"
    assert validate(path) == ()
    with h5py.File(path, "r+") as file:
        file["epoch"]["values"][1, 0] += 1
    (line,) = lines(path)
    assert line.startswith(": table epoch: row ")
    assert "and the spool says " in line
    assert line.endswith(f"; `structure-net rebuild {path.parent}` makes it anew from its spool")
    rebuild(path.parent)
    assert list(check_series(path)) == []
    path.write_bytes(b"garbage" * 100)
    (line,) = lines(copied)
    assert "cannot be read as HDF5" in line


def test_rows_of_records_that_a_power_cut_took_do_not_hide_the_new_ones(copied: Path) -> None:
    folder = RunFolder(copied)
    path = folder.records / "records.jsonl"
    kept = path.read_bytes().splitlines(keepends=True)[:2]
    path.write_bytes(b"".join(kept))
    assert any("comes from no record" in line for line in lines(folder.records / "series.h5"))
    prepared = prepare(RunRequest(dataset="spirals", density=0.2, iterations=1, epochs=2))
    carry_on(
        RunFolder(copied),
        prepared,
        begin(RunFolder(copied.parent / "other"), prepared, command=["evolve"]),
        Watcher(),
        sinks=[SeriesSink()],
    )
    epochs = [stored.seq for stored in read(folder.records) if stored.kind == "epoch"]
    with h5py.File(folder.records / "series.h5") as file:
        assert list(file["epoch"]["seq"]) == epochs
    assert lines(folder.records / "series.h5") == []


def test_a_damaged_queue_is_told(copied: Path) -> None:
    path = copied / "records" / "sync.json"
    path.write_text('{"version": 1, "destinations": {"wandb": {"acknowledged": "x"}}}')
    (line,) = lines(copied)
    assert line.startswith("/records/sync.json: is damaged, or of a newer version")


def test_a_run_whose_spool_is_damaged_says_how_to_go_on_and_does(copied: Path) -> None:
    folder = RunFolder(copied)
    path = folder.records / "records.jsonl"
    lost = path.read_bytes().replace(b'"kind":"epoch"', b'"kind":"epoxy"', 1)
    path.write_bytes(lost)
    prepared, state = resumed(folder, iterations=2)
    with pytest.raises(SpoolError, match=r"To go on with the run in a new spool, move .* away"):
        carry_on(folder, prepared, state, Watcher())
    assert path.read_bytes() == lost
    folder.records.rename(copied.parent / "damaged")
    carry_on(folder, *resumed(folder, iterations=2), Watcher())
    assert validate(copied) == ()
    assert [one.kind for one in read(folder.records)][:2] == ["run_started", "resumed"]


def test_a_queue_that_is_ahead_of_its_spool_does_not_pass_for_complete(copied: Path) -> None:
    records = copied / "records"
    write_state(records, "wandb", QueueState(acknowledged=9999))
    with pytest.raises(SpoolError, match="record 9999 has arrived, and the spool does not reach"):
        read_status(records, "wandb")
