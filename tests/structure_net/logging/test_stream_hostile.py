"""A stream whose files, threads and processes are taken from it while it goes on."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from pathlib import Path

import pytest

from structure_net.errors import SpoolError
from structure_net.files import replacing
from structure_net.logging import GuardedSink, RecordStream, Source, Spool, Trouble, read
from structure_net.logging.series import SERIES, Series, rebuild
from structure_net.logging.sinks import SeriesSink
from tests.structure_net.logging.recorded import epoch
from tests.structure_net.logging.test_stream import Listening


@pytest.mark.skipif(os.name == "nt", reason="the folder of an open file cannot be renamed there")
def test_a_folder_that_is_moved_stops_the_run_and_says_where_its_records_are(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run"
    spool = Spool(folder)
    spool.append(epoch(1))
    spool.flush()
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(SpoolError, match=r"was moved .* its 1 records are where it is now"):
        spool.put(b"a file that would be left behind")
    with pytest.raises(SpoolError, match=r"was moved .* Put it back, then go on"):
        spool.append(epoch(2))
    spool.close()
    assert not folder.exists()
    (tmp_path / "elsewhere").rename(folder)
    with Spool(folder) as again:
        assert again.append(epoch(2)).seq == 2


def test_a_program_may_go_to_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    with RecordStream(Spool("run"), [SeriesSink()], patience=250.0) as stream:
        stream.emit(epoch(1))
        monkeypatch.chdir(tmp_path / "other")
        stream.emit(epoch(2))
        assert stream.spool.put(b"kept").path.is_relative_to(tmp_path / "run")
    assert stream.troubles == ()
    with Series(tmp_path / "run" / SERIES) as series:
        assert len(series["epoch"]) == 2


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be removed there")
def test_time_series_that_are_removed_are_told_of_and_can_be_made_anew(tmp_path: Path) -> None:
    with RecordStream(Spool(tmp_path), [SeriesSink()], patience=250.0) as stream:
        for number in range(1, 4):
            stream.emit(epoch(number))
            while not (tmp_path / SERIES).exists() and number == 1:
                pass
        (tmp_path / SERIES).unlink()
    (trouble,) = stream.troubles
    assert "was removed by another program" in trouble.reason
    assert (trouble.last, trouble.records) == (3, 3)
    with Series(rebuild(tmp_path)) as series:
        assert len(series["epoch"]) == 3


class Leaking(Listening):
    """Takes everything, and cannot bring it away."""

    name = "leaking"

    def flush(self, deadline: float) -> None:
        raise OSError("no space left")


def test_a_sink_that_cannot_bring_away_what_it_took_says_so(tmp_path: Path) -> None:
    with RecordStream(Spool(tmp_path), [Leaking()], patience=250.0) as stream:
        for number in range(1, 4):
            stream.emit(epoch(number))
    assert stream.troubles == (Trouble("leaking", 1, 3, 3, "OSError: no space left"),)


def test_where_no_thread_can_be_started_the_run_goes_on_without_the_sink(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(SpoolError, match=r"start new thread\. End other threads"):
            Spool(tmp_path)
        spool = Spool(tmp_path, durable="record")
        with RecordStream(spool, [Listening()], patience=250.0) as stream:
            stream.emit(epoch(1))
    (trouble,) = stream.troubles
    assert (trouble.first, trouble.last) == (1, 1)
    assert "new thread" in trouble.reason
    assert [stored.kind for stored in read(tmp_path)] == ["epoch", "missed"]
    sink = GuardedSink(Listening())
    sink.open(Source(tmp_path, 0))
    assert sink.close(250.0) is None


@pytest.mark.skipif(os.name == "nt", reason="there are no named pipes of this kind")
def test_what_is_no_file_is_neither_written_nor_replaced(tmp_path: Path) -> None:
    for name in ("records.jsonl", "target"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(SpoolError, match=r"no regular file.*Name a folder that can be written"):
        Spool(tmp_path)
    with pytest.raises(OSError, match="no regular file"), replacing(tmp_path / "target"):
        pass
    assert (tmp_path / "target").is_fifo()


def test_a_stream_is_handed_to_no_other_process(tmp_path: Path) -> None:
    with RecordStream(Spool(tmp_path)) as stream:
        for one in (stream, stream.spool):
            with pytest.raises(SpoolError, match="cannot be handed to another one"):
                pickle.dumps(one)
        process = multiprocessing.get_context("spawn").Process(target=print, args=(stream,))
        with pytest.raises(SpoolError, match="Open a spool of its own"):
            process.start()
        stream.emit(epoch(1))
    assert [stored.seq for stored in read(tmp_path)] == [1]
