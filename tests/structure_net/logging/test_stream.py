"""The stream: the spool first; whatever sinks do, the run neither stops nor waits."""

from __future__ import annotations

import sys
import threading
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from structure_net.errors import SpoolError
from structure_net.logging import (
    GuardedSink,
    RecordStream,
    Sink,
    Source,
    Spool,
    Stored,
    Trouble,
    read,
)
from structure_net.logging.records import Epoch, Missed, RunEnded, RunStarted
from structure_net.logging.sinks import ConsoleSink
from tests.structure_net.logging.stub_server import wait_for


def epoch(number: int) -> Epoch:
    return Epoch(epoch=number, step=number, metrics={"loss": 0.5}, parameters=1, connections=1)


class Listening:
    """Remembers what it is told."""

    name = "listening"

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.got: list[int] = []
        self.threads: set[int] = set()

    def open(self, source: Source) -> None:
        self.heard.append(f"open {source.folder.name} after {source.after}")

    def write(self, stored: Stored) -> None:
        self.threads.add(threading.get_ident())
        self.got.append(stored.seq)
        assert stored.record.kind == stored.kind

    def flush(self, deadline: float) -> None:
        self.heard.append("flush")

    def close(self) -> None:
        self.heard.append("close")


class Failing(Listening):
    """Raises at some records."""

    name = "failing"

    def __init__(self, *at: int) -> None:
        super().__init__()
        self._at = at

    def write(self, stored: Stored) -> None:
        if stored.seq in self._at:
            raise ValueError(f"no {stored.seq}\nat all")
        super().write(stored)


class Blocking(Listening):
    """Waits at its second record until it is let go."""

    name = "blocking"

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def write(self, stored: Stored) -> None:
        if stored.seq == 2:
            self.go.wait()
        super().write(stored)


def records(folder: Path) -> list[Stored]:
    return list(read(folder))


def test_every_sink_gets_every_record_in_order_in_one_thread_of_its_own(tmp_path: Path) -> None:
    sinks = [Listening(), Listening()]
    assert all(isinstance(sink, Sink) for sink in sinks)
    with RecordStream(Spool(tmp_path / "spool"), sinks) as stream:
        assert [stream.emit(epoch(number)) for number in range(1, 101)] == list(range(1, 101))
    for sink in sinks:
        assert sink.got == list(range(1, 101))
        assert sink.heard == ["open spool after 0", "flush", "close"]
        assert len(sink.threads) == 1
        assert threading.get_ident() not in sink.threads


def test_a_flush_waits_until_sinks_have_everything(tmp_path: Path) -> None:
    sink = Listening()
    with RecordStream(Spool(tmp_path), [sink]) as stream:
        stream.emit(epoch(1))
        assert stream.flush(250.0)
        assert (sink.got, sink.heard[-1]) == ([1], "flush")


def test_a_stream_that_goes_on_tells_sinks_what_came_before(tmp_path: Path) -> None:
    for before in (0, 1):
        sink = Listening()
        with RecordStream(Spool(tmp_path), [sink]) as stream:
            stream.emit(epoch(1))
        assert sink.heard[0].endswith(f"after {before}")
        assert sink.got == [before + 1]


def test_a_record_that_a_sink_refuses_is_missed_and_told_of_once(tmp_path: Path) -> None:
    sink, other = Failing(3, 5), Listening()
    with RecordStream(Spool(tmp_path), [sink, other]) as stream:
        for number in range(1, 8):
            stream.emit(epoch(number))
    assert sink.got == [1, 2, 4, 6, 7]
    assert other.got == list(range(1, 8))
    (trouble,) = stream.troubles
    assert trouble == Trouble("failing", 3, 5, 2, "ValueError: no 3 at all")
    *_, last = records(tmp_path)
    assert last.record == Missed(
        sink="failing", first=3, last=5, records=2, reason="ValueError: no 3 at all"
    )
    assert [one.seq for one in records(tmp_path)] == list(range(1, 9))
    assert stream.close() == (trouble,)


def test_a_sink_that_fails_ten_times_in_a_row_is_given_up(tmp_path: Path) -> None:
    sink = Failing(*range(3, 100))
    with RecordStream(Spool(tmp_path), [sink]) as stream:
        for number in range(1, 51):
            stream.emit(epoch(number))
    (trouble,) = stream.troubles
    assert (trouble.first, trouble.last, trouble.records) == (3, 50, 48)
    assert sink.heard[-1] == "close"


def test_a_sink_that_blocks_for_ever_neither_stops_nor_slows_the_run(tmp_path: Path) -> None:
    sink, other = Blocking(), Listening()
    stream = RecordStream(Spool(tmp_path), [sink, other], patience=0.3)
    for number in range(1, 6):
        stream.emit(epoch(number))
    assert not stream.flush(0.05)
    taken = {sink.name: 1, other.name: 5}
    assert wait_for(lambda: {name: n for name, (n, _) in stream.sink_costs.items()} == taken)
    (trouble,) = stream.close()
    assert trouble == Trouble("blocking", 2, 5, 4, "it did not take them in time")
    assert other.got == [1, 2, 3, 4, 5]
    assert records(tmp_path)[-1].kind == "missed"
    sink.go.set()


class Dying(Listening):
    """Ends its thread."""

    name = "dying"

    def write(self, stored: Stored) -> None:
        sys.exit("enough")


class Stillborn(Listening):
    """Cannot be opened."""

    name = "stillborn"

    def open(self, source: Source) -> None:
        raise ConnectionError("nobody there")


@pytest.mark.parametrize(
    ("sink", "reason"),
    [(Dying(), "SystemExit: enough"), (Stillborn(), "ConnectionError: nobody there")],
    ids=["dying", "stillborn"],
)
def test_a_sink_that_dies_does_not_take_the_run_along(
    tmp_path: Path, sink: Listening, reason: str
) -> None:
    with RecordStream(Spool(tmp_path), [sink]) as stream:
        for number in range(1, 6):
            stream.emit(epoch(number))
    (trouble,) = stream.troubles
    assert (trouble.first, trouble.last, trouble.records) == (1, 5, 5)
    assert trouble.reason == reason


def test_a_sink_that_fell_behind_reads_from_the_spool_what_its_queue_let_go(
    tmp_path: Path,
) -> None:
    sink = Blocking()
    guarded = GuardedSink(sink, capacity=4)
    with Spool(tmp_path) as spool:
        guarded.open(Source(tmp_path, 0))
        for number in range(1, 101):
            guarded.write(spool.append(epoch(number)))
        sink.go.set()
        assert guarded.flush(250.0)
        assert guarded.close() is None
    assert sink.got == list(range(1, 101))


def test_what_a_sink_missed_can_be_replayed_from_the_spool(tmp_path: Path) -> None:
    sink = Failing(2, 3)
    with RecordStream(Spool(tmp_path), [sink]) as stream:
        for number in range(1, 5):
            stream.emit(epoch(number))
    (trouble,) = stream.troubles
    again = Listening()
    for stored in read(tmp_path, trouble.first - 1):
        if stored.seq <= trouble.last:
            again.write(stored)
    assert again.got == [2, 3]


def test_a_spool_that_cannot_be_written_stops_the_run_before_any_sink_hears(
    tmp_path: Path,
) -> None:
    sink = Listening()
    spool = Spool(tmp_path)
    stream = RecordStream(spool, [sink])
    stream.emit(epoch(1))
    spool.close()
    with pytest.raises(SpoolError, match="closed"):
        stream.emit(epoch(2))
    with pytest.raises(SpoolError):
        stream.flush()
    stream.close()
    assert sink.got == [1]


def test_the_console_shows_a_line_for_each_record_that_people_want_to_see(tmp_path: Path) -> None:
    text = StringIO()
    console = Console(file=text, width=200)
    with RecordStream(Spool(tmp_path), [ConsoleSink(console)]) as stream:
        stream.emit(RunStarted(run="9f86", name="digits"))
        stream.emit(epoch(3))
        stream.emit(RunEnded(status="stopped", reason="the disk [is] full"))
    assert text.getvalue().splitlines() == [
        "     1  run started  name digits  run 9f86",
        "     2  epoch  iteration 0  epoch 3  loss 0.5",
        "     3  run ended  status stopped  (the disk [is] full)",
    ]
