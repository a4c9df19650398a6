"""A run folder is made whole or not at all, is never taken over, and says what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from structure_net.errors import RunError
from structure_net.runs import RunFolder, RunRequest, free_folder, known_folder
from structure_net.runs.folder import new_files
from structure_net.runs.records import HistoryRecord, RunRecord

RECORD = RunRecord(
    created="2026-01-01T00:00:00+00:00",
    command=("structure-net", "evolve"),
    request=RunRequest(architecture=(64, 10)),
    architecture=(64, 10),
    start_connections=20,
    start_parameters=30,
    threads=1,
    dataset={"name": "digits"},
    versions={"torch": "2.13.0"},
)


def made(path: Path) -> RunFolder:
    folder = free_folder(path)
    with new_files(folder):
        folder.write_run(RECORD)
    return folder


def fail_while_making(folder: RunFolder) -> None:
    with new_files(folder):
        folder.write_run(RECORD)
        raise OSError("the disk is full")


def test_a_record_reads_back_as_it_was_written(tmp_path: Path) -> None:
    folder = made(tmp_path / "run")
    folder.write_history(HistoryRecord(status="running"))
    assert folder.read_run() == RECORD
    assert folder.read_history() == HistoryRecord(status="running")


def test_a_folder_that_fails_while_it_is_made_leaves_nothing(tmp_path: Path) -> None:
    folder = free_folder(tmp_path / "deep" / "run")
    with pytest.raises(OSError, match="full"):
        fail_while_making(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_the_user_survives_a_failed_start(tmp_path: Path) -> None:
    folder = free_folder(tmp_path)
    with pytest.raises(OSError, match="full"):
        fail_while_making(folder)
    assert tmp_path.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_never_taken_over(tmp_path: Path) -> None:
    made(tmp_path / "run")
    with pytest.raises(RunError, match=r"exists already.*resume"):
        free_folder(tmp_path / "run")


def test_the_command_that_continues_a_run_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    made(tmp_path / "my run")
    with pytest.raises(RunError, match=f"structure-net resume '{tmp_path}/my run'`"):
        free_folder(tmp_path / "my run")


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match=r"exists already\. Choose another --out"):
        free_folder(tmp_path)


def test_an_unknown_run_is_refused_with_the_nearest(tmp_path: Path) -> None:
    made(tmp_path / "mnist-1")
    with pytest.raises(RunError, match=r"does not exist\. Did you mean .*mnist-1"):
        known_folder(tmp_path / "mnist-2")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no run\.json"):
        known_folder(tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("architecture", "wide", "architecture"),
        ("schema_version", 2, "schema_version"),
        ("unheard_of", 1, "unheard_of"),
    ],
)
def test_a_damaged_record_is_refused_with_its_field(
    tmp_path: Path, field: str, value: object, message: str
) -> None:
    folder = made(tmp_path / "run")
    data = json.loads(folder.run.read_text())
    folder.run.write_text(json.dumps({**data, field: value}))
    with pytest.raises(RunError, match=rf"run\.json is damaged: {message}"):
        folder.read_run()


def test_a_record_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    folder = made(tmp_path / "run")
    folder.run.write_text(folder.run.read_text()[:40])
    with pytest.raises(RunError, match="is damaged"):
        folder.read_run()
