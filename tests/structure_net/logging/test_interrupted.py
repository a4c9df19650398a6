"""Ctrl-C between any two lines: what was begun is done once more, and nothing is done twice."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from structure_net.logging import Spool
from structure_net.logging.reading import SPOOL
from structure_net.logging.sending import Sender
from structure_net.logging.series import SERIES, Series, SeriesWriter, writing
from structure_net.logging.spool import Durable
from structure_net.logging.syncing import to_disk
from tests.structure_net.logging.recorded import epoch
from tests.structure_net.logging.test_sending import Shelf


@contextmanager
def ctrl_c_at_line(count: int, file: str) -> Iterator[list[int]]:
    """Ctrl-C before line ``count``, of all lines that are carried out in a file of ours.

    Yields:
        The lines that were reached; Ctrl-C came where there are ``count``.
    """
    reached: list[int] = []

    def look(frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.endswith(file):
            return None
        if event == "line":
            reached.append(frame.f_lineno)
            if len(reached) == count:
                sys.settrace(None)
                raise KeyboardInterrupt
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        with suppress(KeyboardInterrupt):
            yield reached
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("durable", ["group", "record"])
def test_what_is_flushed_is_on_the_disk_though_writing_was_interrupted(
    tmp_path: Path, durable: Durable, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []  # of the file, whenever the disk was asked

    def asked(file: int) -> None:
        to_disk(file)
        sizes.append(os.fstat(file).st_size)

    monkeypatch.setattr("structure_net.logging.spool.to_disk", asked)
    with Spool(tmp_path, durable=durable) as spool:
        spool.append(epoch(1))
        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            patch.setattr(Spool, "_durable", _stopped)
            spool.append(epoch(2))
        assert spool.flush()
        assert spool.acknowledged == spool.last == 2
        assert sizes[-1] == (tmp_path / SPOOL).stat().st_size


def _stopped(spool: Spool) -> None:
    raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_sender_that_is_interrupted_while_it_takes_the_lock_lets_go_of_it(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.append(epoch(1))
    count = 0
    while True:
        count += 1
        (tmp_path / "sync.json").unlink(missing_ok=True)
        shelf = Shelf(set())
        with ctrl_c_at_line(count, "logging/locking.py") as reached:
            Sender(tmp_path, shelf).drain()
        assert Sender(tmp_path, shelf).drain().complete
        assert shelf.kept == [1]
        if len(reached) < count:
            break
    assert count > 5


@pytest.mark.parametrize("behind", range(1, 9))
def test_rows_whose_writing_was_interrupted_are_written_once(
    tmp_path: Path, behind: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, calls = writing._put, 0

    def interrupted(*words: Any) -> None:
        nonlocal calls
        put(*words)
        calls += 1
        if calls == behind:
            raise KeyboardInterrupt

    monkeypatch.setattr(writing, "_put", interrupted)
    writer = SeriesWriter(tmp_path / SERIES, tables=("epoch",), block=2)
    for seq in range(1, 6):
        with suppress(KeyboardInterrupt):
            writer.append("epoch", seq, {"a": float(seq)} | ({"b": 2.0} if seq > 2 else {}))
    with suppress(KeyboardInterrupt):
        writer.close()
    writer.close()
    with Series(tmp_path / SERIES) as series:
        assert series["epoch"].seq().tolist() == [1, 2, 3, 4, 5]
        assert series["epoch"]["a"][:].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    SeriesWriter.continued(tmp_path / SERIES).close()
