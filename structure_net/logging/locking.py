"""One writer: a lock that dies with its process, and files that forked processes let go of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO, Final
from weakref import WeakSet

from structure_net.errors import SpoolError

_HELD: Final[set[int]] = set()
_FILES: Final[WeakSet[BinaryIO]] = WeakSet()


def lock(descriptor: int, path: Path) -> None:
    """Takes the lock of an open file, until `release`.

    It is the kernel's, so that a killed process holds none, and a forked process lets go of the
    file, so that it does not keep the lock of a parent that is gone. Windows has no lock of this
    kind: there, two writers are not told apart.

    Raises:
        SpoolError: Another process, or another spool of this one, holds it.
    """
    _take(descriptor, path)
    _HELD.add(descriptor)


def _take(descriptor: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SpoolError(
            f"{path} is being written by another program (a run that still goes on, say). "
            "Wait until it is over; reading needs no lock."
        ) from None
    _watch_forks()


@contextmanager
def unwritten(path: Path) -> Iterator[None]:
    """Keeps every writer away from a file for as long as the block inside takes.

    Raises:
        SpoolError: Somebody writes to it.
        OSError: There is no such file.
    """
    # A file lets go of its lock when nobody holds it any more, wherever a Ctrl-C comes.
    with path.open("rb") as file:
        _take(file.fileno(), path)
        _FILES.add(file)
        yield


def release(descriptor: int) -> None:
    """Closes an open file, and with it its lock."""
    try:
        _HELD.discard(descriptor)
    finally:  # a Ctrl-C here would keep the lock
        os.close(descriptor)


@cache
def _watch_forks() -> None:
    os.register_at_fork(after_in_child=_let_go)


def _let_go() -> None:
    for descriptor in _HELD:
        os.close(descriptor)
    _HELD.clear()
    for file in tuple(_FILES):
        file.close()
