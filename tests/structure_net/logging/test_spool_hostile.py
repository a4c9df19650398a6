"""A spool in a hostile world: damaged numbers, meddling programs, text that is no Unicode."""

from __future__ import annotations

import os
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from structure_net.errors import SpoolError
from structure_net.logging import RecordStream, Spool, Stored, blobs, read
from structure_net.logging.blobs import check_blob, put_blob
from structure_net.logging.checking import check_spool
from structure_net.logging.reading import Damage, current, open_spool
from structure_net.logging.records import Epoch, RunStarted
from tests.structure_net.logging.test_stream import Listening


def epoch(number: int) -> Epoch:
    return Epoch(epoch=number, step=number, metrics={"loss": 0.5}, parameters=1, connections=1)


def started(name: str = "run", config: dict[str, Any] | None = None) -> RunStarted:
    return RunStarted(run="r", name=name, program="p", config=config or {}, dataset={}, seed=0)


def filled(folder: Path, count: int) -> list[bytes]:
    """The lines of a spool of ``count`` records."""
    with Spool(folder) as spool:
        for number in range(1, count + 1):
            spool.append(epoch(number))
    return (folder / "records.jsonl").read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("claimed", [1, 9999])
def test_a_damaged_number_never_leads_a_reader_past_good_records(
    tmp_path: Path, claimed: int
) -> None:
    lines = filled(tmp_path, 1000)  # 200 kB: the search for a record probes several places
    for victim in range(0, 1000, 7):
        number = victim + 1
        wrong = lines[victim].replace(b'{"seq":%d,' % number, b'{"seq":%d,' % claimed)
        if wrong == lines[victim]:
            continue
        changed = [*lines[:victim], wrong, *lines[victim + 1 :]]
        (tmp_path / "records.jsonl").write_bytes(b"".join(changed))
        for after in (victim // 2, max(0, victim - 3)):
            told: list[Damage] = []
            found = [one.seq for one in read(tmp_path, after, on_damage=told.append)]
            assert found == [n for n in range(after + 1, 1001) if n != number]
            assert len(told) == 1


def test_a_damaged_line_does_not_hide_that_more_records_are_missing(tmp_path: Path) -> None:
    lines = filled(tmp_path, 10)
    damaged = lines[3][:-4] + b'x"}\n'
    (tmp_path / "records.jsonl").write_bytes(b"".join([*lines[:3], damaged, *lines[7:]]))
    told: list[Damage] = []
    assert [one.seq for one in read(tmp_path, on_damage=told.append)] == [1, 2, 3, 8, 9, 10]
    assert len(told) == 2
    assert "records 4 to 7 should stand before record 8" in str(told[1])
    assert len(list(check_spool(tmp_path / "records.jsonl"))) == 2


def meet(spool: Spool) -> None:
    """Writes until the disk has been asked, which may be at the second record only."""
    for number in range(2, 4):
        spool.append(epoch(number))
        spool.flush()


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be removed there")
@pytest.mark.parametrize("how", ["deleted", "cut"])
def test_a_file_that_another_program_meddles_with_stops_the_run(tmp_path: Path, how: str) -> None:
    spool = Spool(tmp_path)
    spool.append(epoch(1))
    spool.flush()
    if how == "cut":
        os.truncate(tmp_path / "records.jsonl", 10)
    else:
        (tmp_path / "records.jsonl").unlink()
    with pytest.raises(SpoolError, match=rf"was {how} by another program .* are lost"):
        meet(spool)
    with pytest.raises(SpoolError, match="lost"):
        spool.append(epoch(9))
    with pytest.raises(SpoolError, match="lost"):
        spool.close()


def test_records_that_are_written_while_the_disk_is_asked_are_no_meddling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, real = Spool(tmp_path), os.fstat

    def asked(descriptor: int) -> os.stat_result:
        found = real(descriptor)
        if descriptor == spool._descriptor and spool.last < 5:
            spool.append(epoch(spool.last + 1))
        return found

    spool.append(epoch(1))
    monkeypatch.setattr(os, "fstat", asked)
    while spool.last < 5:
        spool.flush()
    monkeypatch.setattr(os, "fstat", real)
    spool.close()
    assert [one.seq for one in read(tmp_path)] == list(range(1, spool.last + 1))


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a right there")
def test_places_that_are_no_files_are_refused_with_the_way_out(tmp_path: Path) -> None:
    def refused(folder: Path) -> None:
        with pytest.raises(SpoolError, match=r"cannot be written: .* Name a folder that can be"):
            Spool(folder)

    for name in ("folder", "loop", "nowhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "folder" / "records.jsonl").mkdir()
    (tmp_path / "loop" / "records.jsonl").symlink_to(tmp_path / "loop" / "records.jsonl")
    (tmp_path / "nowhere" / "records.jsonl").symlink_to(tmp_path / "absent" / "file")
    for name in ("folder", "loop", "nowhere"):
        refused(tmp_path / name)
    with Spool(tmp_path / "real") as spool:
        (tmp_path / "alias").symlink_to(tmp_path / "real")
        with pytest.raises(SpoolError, match="being written by another program"):
            Spool(tmp_path / "alias")
        assert spool.last == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_reader_that_may_open_no_more_files_says_so(tmp_path: Path) -> None:
    import resource

    with Spool(tmp_path) as spool:
        spool.append(epoch(1))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        for reader in (read, current):
            with pytest.raises(SpoolError, match=r"Too many open files\. Close files"):
                next(reader(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    with pytest.raises(SpoolError, match=r"cannot be read: No such file or directory\."):
        open_spool(tmp_path / "none")


def test_text_that_is_no_unicode_is_written_as_an_escape(tmp_path: Path) -> None:
    path = os.fsdecode(b"/data/\xff")  # the name of a file in no encoding
    with Spool(tmp_path) as spool:
        spool.append(started("net\ud800", {path: [path, 0.5, float("nan")]}))
    (stored,) = read(tmp_path)
    found = stored.record
    assert isinstance(found, RunStarted)
    assert found.name == "net\\ud800"
    ((key, (text, half, nothing)),) = found.config.items()
    assert (text, half) == ("/data/\\udcff", 0.5)
    assert re.fullmatch(r"/data/\\udcff~[0-9a-f]{8}", key)
    assert nothing != nothing  # noqa: PLR0124 - not a number


class Keeping(Listening):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Stored] = []

    def write(self, stored: Stored) -> None:
        self.kept.append(stored)


def test_names_that_differ_only_where_they_are_no_unicode_stay_different(tmp_path: Path) -> None:
    names = ["loss\ud800", "loss\ud801", "loss\\ud800", "loss\ufffd", "loss"]
    metrics = {name: float(place) for place, name in enumerate(names)}
    with RecordStream(Spool(tmp_path), [sink := Keeping()], patience=250.0) as stream:
        stream.emit(Epoch(epoch=1, step=1, metrics=metrics, parameters=1, connections=1))
    (stored,), (heard,) = read(tmp_path), sink.kept
    assert list(stored.data["metrics"].values()) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert list(stored.data["metrics"])[2:] == names[2:]
    assert heard.record == stored.record  # what sinks are told is what the spool says


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (10**4000, "4,000 digits"),
        ([1, 10**4000], "4,000 digits"),
        ([[0.5, -(10**4000)]], "4,000 digits"),
    ],
)
def test_numbers_that_could_not_be_read_back_are_refused(value: object, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        started(config={"a": value})
    started(config={"a": [10**3999, 10**30, True, 0.5], "b": [[10**3999]]})


def test_what_contains_itself_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["again"] = [endless]
    with pytest.raises(ValidationError, match="100 deep"):
        started(config=endless)


@pytest.mark.parametrize("link", [False, True])
def test_a_file_that_is_replaced_while_it_is_kept_lies_under_its_own_digest(
    tmp_path: Path, link: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, measured = tmp_path / "checkpoint", blobs._measured
    source.write_bytes(b"one")

    def replaced(content: bytes | Path) -> tuple[str, int]:
        found = measured(content)
        (tmp_path / "draft").write_bytes(b"two, longer")
        (tmp_path / "draft").replace(source)
        monkeypatch.setattr(blobs, "_measured", measured)
        return found

    monkeypatch.setattr(blobs, "_measured", replaced)
    kept = put_blob(tmp_path / "spool", source, link=link)
    assert check_blob(tmp_path / "spool", kept.digest) == kept
    assert kept.path.read_bytes() == b"two, longer"
    files = [path for path in (tmp_path / "spool" / "blobs").rglob("*") if path.is_file()]
    assert files == [kept.path]


def test_records_keep_their_order_where_the_clock_goes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour = 3600 * 10**9
    told = iter([10**18, 10**18 - hour, 10**18 - hour + 999, 4 * 10**18])
    monkeypatch.setattr("structure_net.logging.lines.time.time_ns", lambda: next(told))
    with Spool(tmp_path) as spool:
        for number in range(1, 5):
            spool.append(epoch(number))
    found = list(read(tmp_path))
    assert [one.seq for one in found] == [1, 2, 3, 4]
    assert [datetime.fromisoformat(one.time).timestamp() for one in found] == [
        1e9,
        1e9 - 3600,
        1e9 - 3600,
        4e9,
    ]
    assert [one.seq for one in read(tmp_path, 2)] == [3, 4]
