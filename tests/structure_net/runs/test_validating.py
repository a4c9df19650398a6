"""Every problem of a file is one line: where, what, the rule."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from structure_net.cli import main
from structure_net.errors import RunError
from structure_net.logging.checking import Problem, check_alone, check_record, check_spool
from structure_net.runs import RunFolder, RunRequest, Watcher, begin, carry_on, prepare
from structure_net.runs.validating import subjects, validate
from tests.structure_net.logging.test_stream_stopped import ctrl_c_at

EPOCH = {"epoch": 1, "step": 1, "metrics": {}, "parameters": 1, "connections": 1}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = RunFolder(tmp_path_factory.mktemp("validated") / "run")
    prepared = prepare(RunRequest(dataset="spirals", density=0.2, iterations=1, epochs=1))
    state = begin(folder, prepared, command=["evolve"])
    carry_on(folder, prepared, state, Watcher())
    return folder.path


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> list[str]:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return lines(path)


def lines(path: Path) -> list[str]:
    return [str(problem).removeprefix(f"{path}: ") for problem in validate(path)]


def test_nothing_is_wrong_with_a_run_and_each_of_its_files(run: Path) -> None:
    assert validate(run) == ()
    for file in ("run.json", "history.json", "journal.json", "checkpoint.safetensors"):
        assert validate(run / file) == ()
    assert validate(run / "records" / "records.jsonl") == validate(run / "records") == ()


def test_the_fields_of_a_run_are_checked(copied: Path) -> None:
    def spoil(document: dict[str, Any]) -> None:
        del document["created"]
        document["threads"] = "two"

    found = changed(copied / "run.json", spoil)
    assert "created: is missing" in found
    assert any(line.startswith("threads: input should be a valid integer") for line in found)
    (line,) = changed(copied / "run.json", lambda d: d["request"].update(density=7))
    assert line.startswith("density must be in (0, 1]")


def test_the_fields_of_a_history_a_journal_and_a_checkpoint_are_checked(copied: Path) -> None:
    found = changed(copied / "history.json", lambda d: d.update(status="done", colour="red"))
    assert any(line.startswith("status: input should be 'running'") for line in found)
    assert "colour: is no field of this record" in found
    found = changed(copied / "journal.json", lambda d: d["entries"][0].update(iteration=-1))
    assert found == [
        "entries.0.event.iteration: input should be greater than or equal to 0; got -1"
    ]
    checkpoint = copied / "checkpoint.safetensors"
    data = bytearray(checkpoint.read_bytes())
    data[9] = 0
    checkpoint.write_bytes(data)
    (line,) = lines(checkpoint)
    assert line.startswith("the header: ")


def test_a_newer_version_and_what_is_no_file_of_ours_are_told(copied: Path, tmp_path: Path) -> None:
    found = changed(copied / "run.json", lambda d: d.update(schema_version=9))
    assert found == ["it has version 9; this program reads up to 1. Update structure-net"]
    other = tmp_path / "other.json"
    for text, said in (
        ('{"a": 1}', "none of the files that can be validated"),
        ("[1]", "none of the files that can be validated"),
        ('{\n"a": ', "line 2: it is no JSON (Expecting value)"),
    ):
        other.write_text(text)
        (line,) = lines(other)
        assert said in line
    other.write_bytes(b"\xff\xfe{")
    (line,) = lines(other)
    assert "UTF-8" in line
    report = copied / "report.md"
    (line,) = lines(report)
    assert line.startswith("it is none of the files that can be validated; these are run.json")


def test_an_analysis_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "analysis.json"
    path.write_text(json.dumps({"kind": "structure_net.analysis", "subject": "run"}))
    assert "iteration: is missing" in lines(path)


def test_a_spool_is_checked_line_by_line(copied: Path) -> None:
    path = copied / "records" / "records.jsonl"
    good = path.read_bytes().splitlines(keepends=True)
    epoch = next(n for n, line in enumerate(good) if b'"kind":"epoch"' in line)
    body = good[epoch].rpartition(b',"crc"')[0].replace(b'"step":', b'"stop":')
    spoiled = [*good]
    spoiled[0] = good[0].replace(b'"run":"', b'"run":"x')
    spoiled[epoch] = body + b',"crc":"%08x"}\n' % zlib.crc32(body)
    del spoiled[-2]
    spoiled[-1] = good[-1][:40]
    path.write_bytes(b"".join(spoiled))
    found = lines(path)
    assert found[0].startswith("line 1: the record is damaged: its checksum is ")
    assert f"line {epoch + 1}: data.step: is missing" in found
    assert f"line {epoch + 1}: data.stop: is no field of this record" in found
    assert found[-1].startswith(f"line {len(spoiled)}: the record is unfinished: 40 bytes")
    path.write_bytes(b"".join([good[0], good[2]]))
    assert lines(path) == ["line 2: record 2 should stand before record 3"]
    path.write_bytes(b"")
    assert [problem.what for problem in check_spool(path)] == [
        "it holds no record; a spool begins with one"
    ]


def test_a_lost_file_of_an_artifact_is_told(copied: Path) -> None:
    blobs = [path for path in (copied / "records" / "blobs").rglob("*") if path.is_file()]
    blobs[0].unlink()
    (line,) = lines(copied / "records" / "records.jsonl")
    assert "its file is lost: " in line
    assert line.endswith("is missing")


def test_a_record_alone_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    good = {"kind": "epoch", "version": 2, "data": EPOCH}
    path.write_text(json.dumps(good))
    assert validate(path) == ()
    bad = {**good, "seq": "1", "colour": "red", "data": {**EPOCH, "epoch": -1}}
    assert [str(one) for one in check_alone(path, bad)] == [
        f"{path}: seq: must be a whole number; got '1'",
        f"{path}: colour: is no field of a record",
        f"{path}: data.epoch: input should be greater than or equal to 0; got -1",
    ]
    missing = [one.what for one in check_alone(path, {"kind": 3, "data": {}})]
    assert missing == ["kind: must be text; got 3", "version: is missing"]
    (said,) = check_record("epcoh", 1, {})
    assert "Did you mean 'epoch'?" in said
    assert str(Problem(path, "line 3", "is wrong")) == f"{path}: line 3: is wrong"


def test_a_path_without_a_file_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="does not exist"):
        validate(tmp_path / "nowhere")
    with pytest.raises(RunError, match="holds no file of a run"):
        validate(tmp_path)


def test_the_command_says_what_is_wrong_and_fails_if_something_is(
    run: Path, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", str(run)]) == 0
    assert capsys.readouterr().out == f"{run}: nothing is wrong\n"
    (copied / "run.json").write_text("{")
    assert main(["validate", str(run), str(copied)]) == 1
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 2
    assert out[1].startswith(f"{copied / 'run.json'}: line 1: it is no JSON")
    assert main(["validate", "--json", str(copied / "run.json")]) == 1
    (problem,) = json.loads(capsys.readouterr().out)[str(copied / "run.json")]
    assert problem["place"] == "line 1"
    assert main(["validate", str(copied / "nowhere")]) == 2


def test_all_runs_below_a_folder_are_looked_at_each_by_its_name(
    run: Path, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(run, runs / "a")
    shutil.copytree(copied, runs / "deeper" / "b")
    (runs / "deeper" / "b" / "journal.json").write_text("{")
    assert subjects(runs) == (runs / "a", runs / "deeper" / "b")
    (problem,) = validate(runs)
    assert problem.path == runs / "deeper" / "b" / "journal.json"
    assert main(["validate", str(runs)]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"{runs / 'a'}: nothing is wrong"
    assert second.startswith(f"{problem.path}: line 1")


def test_ctrl_c_is_told_of_in_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ctrl_c_at(validate):
        assert main(["validate", str(run)]) == 130
    assert capsys.readouterr().err == "structure-net: stopped by Ctrl-C.\n"
