"""The spool: every record that was handed over is there, once, in order, whatever happens."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from structure_net.errors import SpoolError
from structure_net.logging import (
    Blob,
    Damage,
    Spool,
    Stored,
    Torn,
    blob_path,
    check_blob,
    current,
    put_blob,
    read,
    spool_file,
    superseded,
)
from structure_net.logging.lines import line_of, parse_line, seq_of
from structure_net.logging.records import Epoch, Missed, Resumed

WRITER = """
import sys
from structure_net.logging import Spool
from structure_net.logging.records import Epoch

with Spool(sys.argv[1], durable=sys.argv[2]) as spool:
    number = spool.last
    while True:
        number += 1
        metrics = {"number": float(number), "padding": 0.5}
        spool.append(Epoch(epoch=number, step=number, metrics=metrics, parameters=1, connections=1))
        print(number, flush=True)
"""


def epoch(number: int) -> Epoch:
    return Epoch(epoch=number, step=number, metrics={"loss": 0.5}, parameters=1, connections=1)


def written(folder: Path, count: int) -> Path:
    with Spool(folder) as spool:
        for number in range(1, count + 1):
            spool.append(epoch(number))
    return folder / "records.jsonl"


def numbers(stream: Iterator[Stored]) -> list[int]:
    return [stored.seq for stored in stream]


@pytest.mark.parametrize("durable", ["record", "group"])
def test_records_are_read_as_they_were_written_in_order_and_numbered_from_1(
    tmp_path: Path, durable: str
) -> None:
    with Spool(tmp_path, durable=durable) as spool:  # type: ignore[arg-type]
        told = [spool.append(epoch(number)) for number in range(1, 6)]
        assert spool.flush()
        assert spool.acknowledged == spool.last == 5
    found = list(read(tmp_path))
    assert numbers(iter(found)) == [1, 2, 3, 4, 5]
    assert [one.record for one in found] == [epoch(number) for number in range(1, 6)]
    assert [(a.seq, a.time, a.text) for a in told] == [(b.seq, b.time, b.text) for b in found]


def test_a_line_is_json_with_the_crc_of_what_stands_before_it(tmp_path: Path) -> None:
    line = written(tmp_path, 1).read_bytes()
    body, _, crc = line.rpartition(b',"crc":"')
    assert crc == b'%08x"}\n' % zlib.crc32(body)
    stored = parse_line(line[:-1])
    assert isinstance(stored, Stored)
    assert line_of(stored) == line
    assert seq_of(line) == 1
    assert seq_of(b"{}") is None


def test_a_record_is_with_the_operating_system_before_append_returns(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        for number in range(1, 4):
            spool.append(epoch(number))
            assert numbers(read(tmp_path)) == list(range(1, number + 1))


def test_a_spool_goes_on_where_it_ended(tmp_path: Path) -> None:
    written(tmp_path, 3)
    with Spool(tmp_path) as spool:
        assert spool.torn is None
        assert spool.append(epoch(4)).seq == 4
    assert numbers(read(tmp_path)) == [1, 2, 3, 4]


def test_reading_after_a_record_begins_behind_it(tmp_path: Path) -> None:
    written(tmp_path, 2000)  # several blocks of the search
    for after in (0, 1, 2, 700, 1234, 1999, 2000, 5000):
        assert numbers(read(tmp_path, after)) == list(range(after + 1, 2001))


def test_there_is_one_writer_and_it_is_told_from_readers(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.append(epoch(1))
        with pytest.raises(SpoolError, match="being written by another program"):
            Spool(tmp_path)
        assert numbers(read(tmp_path)) == [1]
    Spool(tmp_path).close()


def test_a_forked_process_neither_writes_nor_keeps_the_lock(tmp_path: Path) -> None:
    program = (
        "import os, sys, time\n"
        "from structure_net.errors import SpoolError\n"
        "from structure_net.logging import Spool\n"
        "from structure_net.logging.records import Resumed\n"
        "spool = Spool(sys.argv[1])\n"
        "if os.fork() == 0:\n"
        "    try:\n"
        "        spool.append(Resumed(after=0))\n"
        "    except SpoolError as error:\n"
        "        print(error, flush=True)\n"
        "    sys.stdin.read()\n"
        "    os._exit(0)\n"
        "os._exit(0)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert "from which this one was forked" in process.stdout.readline()
        process.wait()  # the parent is gone, the child waits for its input
        with Spool(tmp_path) as spool:
            assert spool.append(epoch(1)).seq == 1


def test_a_torn_tail_is_cut_off_kept_and_told_of(tmp_path: Path) -> None:
    path = written(tmp_path, 3)
    whole = path.read_bytes()
    for cut in (1, 20, 60):
        rest = line_of(Stored(4, "2026", "epoch", 2, "{}"))[:cut]
        path.write_bytes(whole + rest)
        (tmp_path / "records.torn").unlink(missing_ok=True)
        assert numbers(read(tmp_path)) == [1, 2, 3]
        with Spool(tmp_path) as spool:
            assert isinstance(spool.torn, Torn)
            assert (spool.torn.size, spool.torn.after, spool.last) == (cut, 3, 3)
            assert f"{cut} bytes" in str(spool.torn)
        assert path.read_bytes() == whole
        assert (tmp_path / "records.torn").read_bytes() == rest + b"\n"


def test_what_a_power_cut_leaves_behind_the_last_good_line_is_cut_off(tmp_path: Path) -> None:
    path = written(tmp_path, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + lines[2].replace(b"0.5", b"0.6") + bytes(4096))
    with Spool(tmp_path) as spool:
        assert spool.last == 2
        spool.append(epoch(3))
    assert numbers(read(tmp_path)) == [1, 2, 3]
    assert (tmp_path / "records.torn").stat().st_size == len(lines[2]) + 4096 + 1


def test_a_file_that_is_no_spool_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text("{}\n" * 1000)
    with pytest.raises(SpoolError, match="nothing was changed"):
        Spool(tmp_path)
    assert path.read_text() == "{}\n" * 1000


def test_damage_in_the_middle_is_found_by_its_checksum_and_told_with_its_line(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, 2000)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1233] = lines[1233].replace(b"0.5", b"0.6")
    path.write_bytes(b"".join(lines))
    found: list[Damage] = []
    kept = numbers(read(tmp_path, on_damage=found.append))
    assert kept == [n for n in range(1, 2001) if n != 1234]
    assert [damage.line for damage in found] == [1234]
    assert "checksum" in str(found[0])
    with pytest.raises(SpoolError, match=r"line 1234: .*structure-net validate"):
        list(read(tmp_path, after=1200))
    assert numbers(read(tmp_path, after=1234)) == list(range(1235, 2001))
    with Spool(tmp_path) as spool:
        assert (spool.torn, spool.last) == (None, 2000)


def test_a_missing_and_a_repeated_record_are_told_with_their_line(tmp_path: Path) -> None:
    path = written(tmp_path, 6)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], *lines[4:], lines[4]]))
    found: list[Damage] = []
    assert numbers(read(tmp_path, on_damage=found.append)) == [1, 2, 5, 6]
    assert [(d.line, d.what) for d in found] == [
        (3, "records 3 to 4 should stand before record 5"),
        (5, "record 5 stands behind record 6"),
    ]


def test_records_that_a_resumed_run_superseded_do_not_stand(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        for number in range(1, 5):
            spool.append(epoch(number))
        spool.append(Resumed(after=2))  # 5: supersedes 3 and 4
        spool.append(epoch(3))
        spool.append(Resumed(after=5))  # 7: supersedes 6
        spool.append(epoch(3))
    assert superseded(tmp_path) == (range(3, 5), range(6, 7))
    assert numbers(current(tmp_path)) == [1, 2, 5, 7, 8]
    assert numbers(current(tmp_path, after=5)) == [7, 8]
    with Spool(tmp_path) as spool:
        spool.append(Resumed(after=1))
    assert numbers(current(tmp_path)) == [1, 9]


def test_a_folder_without_a_spool_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match="no spool"):
        list(read(tmp_path))
    written(tmp_path, 1)
    assert spool_file(tmp_path).name == "records.jsonl"


def test_a_closed_spool_and_a_wrong_policy_are_refused(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.close()
    spool.close()
    with pytest.raises(SpoolError, match="closed"):
        spool.append(epoch(1))
    with pytest.raises(ValueError, match="'record' or 'group'; got 'never'"):
        Spool(tmp_path, durable="never")  # type: ignore[arg-type]


def test_a_record_whose_writing_was_interrupted_is_counted_if_it_is_there(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.append(epoch(1))
        line = line_of(Stored(2, "2026", "epoch", 2, epoch(2).data_json()))
        for size, following in ((len(line), 3), (10, 4)):  # as if Ctrl-C came behind the write
            spool._lines = [line]
            os.write(spool._descriptor, line[:size])
            assert spool.append(epoch(9)).seq == following
            line = line_of(Stored(4, "2026", "epoch", 2, epoch(4).data_json()))
    assert numbers(read(tmp_path)) == [1, 2, 3, 4]


def test_threads_may_share_a_spool(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:

        def work() -> None:
            for number in range(300):
                spool.append(epoch(number))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert numbers(read(tmp_path)) == list(range(1, 1201))


def test_a_disk_that_refuses_what_was_written_is_not_trusted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    spool = Spool(tmp_path)
    monkeypatch.setattr("structure_net.logging.spool.to_disk", refuse)
    spool.append(epoch(1))
    with pytest.raises(SpoolError, match=r"records\.jsonl cannot be written: Input/output error"):
        spool.flush()
    monkeypatch.undo()
    with pytest.raises(SpoolError, match="Input/output error"):
        spool.append(epoch(2))
    assert spool.acknowledged == 0
    with pytest.raises(SpoolError, match="Input/output error"):
        spool.close()


@pytest.mark.skipif(os.name == "nt", reason="files have no limit there")
def test_records_that_are_written_at_once_are_all_there_or_none(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        stored = spool.extend([epoch(number) for number in range(1, 4)])
        assert [one.seq for one in stored] == [1, 2, 3]
        whole = spool._end[0]
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (whole + len(line_of(stored[0])) + 9, before[1]))
        try:
            with pytest.raises(SpoolError, match="its 3 records can be read"):
                spool.extend([epoch(4), epoch(5)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert (tmp_path / "records.jsonl").stat().st_size == whole
        assert [one.seq for one in spool.extend([epoch(4), epoch(5)])] == [4, 5]
        assert spool.extend([]) == []
    assert numbers(read(tmp_path)) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("durable", ["record", "group"])
def test_a_full_disk_stops_the_writer_with_a_clear_error_and_a_readable_spool(
    tmp_path: Path, durable: str
) -> None:
    """The largest size of a file stands for the disk: the write ends in the middle of a record."""
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(tmp_path), durable],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )
    last = done.stderr.splitlines()[-1]
    acknowledged = len(done.stdout.split())
    assert done.returncode == 1
    assert f"{tmp_path}/records.jsonl cannot be written: File too large" in last
    assert f"its {acknowledged} records can be read. Free some space" in last
    assert numbers(read(tmp_path)) == list(range(1, acknowledged + 1))
    with Spool(tmp_path) as spool:
        assert spool.torn is None
        assert spool.append(epoch(1)).seq == acknowledged + 1


@pytest.mark.parametrize("seconds", [0.0, 0.03, 0.1])
def test_a_killed_writer_loses_nothing_acknowledged_leaves_no_gap_and_no_duplicate(
    tmp_path: Path, seconds: float
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path), "group"], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        told = [1, *(int(line) for line in process.stdout if line.endswith("\n"))]
    timer.join()
    with Spool(tmp_path) as spool:
        assert spool.last >= told[-1]
        spool.append(Missed(sink="s", first=1, last=1, records=1, reason="none"))
        last = spool.last
    assert numbers(read(tmp_path)) == list(range(1, last + 1))


def test_blobs_lie_under_their_digest_once_and_are_checked(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    with Spool(tmp_path) as spool:
        blob = spool.put(b"content")
        assert isinstance(blob, Blob)
        assert spool.put(tmp_path / "file") == put_blob(tmp_path, b"content") == blob
    assert blob.path == blob_path(tmp_path, blob.digest)
    assert blob.path.read_bytes() == b"content"
    assert check_blob(tmp_path, blob.digest) == blob
    assert len(list((tmp_path / "blobs").rglob("*"))) == 2  # its folder and itself
    blob.path.chmod(0o644)
    blob.path.write_bytes(b"contents")
    with pytest.raises(SpoolError, match="damaged"):
        check_blob(tmp_path, blob.digest)
    assert put_blob(tmp_path, b"content").path.read_bytes() == b"content"
    with pytest.raises(SpoolError, match="missing"):
        check_blob(tmp_path, "0" * 64)


def test_a_linked_blob_keeps_the_file_that_another_replaces(tmp_path: Path) -> None:
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_bytes(b"first")
    first = put_blob(tmp_path, path, link=True)
    assert first.path.samefile(path)
    other.write_bytes(b"second")
    other.replace(path)
    second = put_blob(tmp_path, path, link=True)
    assert check_blob(tmp_path, first.digest).path.read_bytes() == b"first"
    assert check_blob(tmp_path, second.digest).path.read_bytes() == b"second"


def test_a_blob_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("in the way")
    with pytest.raises(SpoolError, match="cannot be written"):
        put_blob(tmp_path, b"content")
