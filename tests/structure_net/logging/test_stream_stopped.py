"""A stream that is stopped in the middle: by Ctrl-C anywhere, and in processes that fork."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from structure_net.logging import GuardedSink, RecordStream, Spool, read
from structure_net.logging.syncing import GroupSync
from tests.structure_net.logging.recorded import epoch
from tests.structure_net.logging.test_stream import Listening


@contextmanager
def ctrl_c_at(place: Callable[..., Any]) -> Iterator[None]:
    """Ctrl-C where a function is entered for the first time, if it is one of Python's own."""

    def look(frame: FrameType, event: str, argument: object) -> None:
        if frame.f_code is getattr(place, "__code__", None):
            sys.settrace(before)
            raise KeyboardInterrupt

    before = sys.gettrace()
    sys.settrace(look)
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        sys.settrace(before)


@pytest.mark.parametrize(
    "place",
    [GuardedSink.write, GroupSync.wrote, Spool._durable, threading.Condition.__exit__],
    ids=["before-the-sink", "before-the-group", "behind-the-write", "at-a-lock"],
)
def test_a_record_that_ctrl_c_kept_from_the_sinks_reaches_them_at_the_end(
    tmp_path: Path, place: Callable[..., Any]
) -> None:
    sink = Listening()
    stream = RecordStream(Spool(tmp_path), [sink], patience=250.0)
    stream.emit(epoch(1))
    with ctrl_c_at(place):
        stream.emit(epoch(2))
    assert stream.close() == ()
    assert sink.got == [1, 2]
    assert [stored.seq for stored in read(tmp_path)] == [1, 2]
    Spool(tmp_path).close()


class Stuck(Listening):
    """Presses Ctrl-C when it should flush, and never comes back by itself."""

    name = "stuck"

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def flush(self, deadline: float) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        self.go.wait()


@pytest.mark.skipif(os.name == "nt", reason="a signal is sent otherwise there")
def test_ctrl_c_ends_the_waiting_for_a_stuck_sink_and_the_spool_is_free(tmp_path: Path) -> None:
    sink = Stuck()
    stream = RecordStream(Spool(tmp_path), [sink], patience=250.0)
    stream.emit(epoch(1))
    with pytest.raises(KeyboardInterrupt):
        stream.close()
    sink.go.set()
    with Spool(tmp_path) as again:
        assert again.last == 1
    assert stream.close() == ()


_FORKING = """
import os, sys, threading
from structure_net.logging import RecordStream, Spool
from structure_net.logging.records import Resumed

class Stuck:
    name = "stuck"
    def open(self, source): threading.Event().wait()

with RecordStream(Spool(sys.argv[1]), [Stuck()], patience=0.1) as stream:
    stream.emit(Resumed(after=0))
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
print("left", status if child else "the child", flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork there")
def test_a_forked_process_leaves_the_stream_of_its_parent_alone(tmp_path: Path) -> None:
    words = [sys.executable, "-c", _FORKING, str(tmp_path)]
    found = subprocess.run(words, check=True, capture_output=True, text=True)
    assert found.stdout.splitlines() == ["left the child", "left 0"]
    assert [stored.kind for stored in read(tmp_path)] == ["resumed", "missed"]
