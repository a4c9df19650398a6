"""Bringing what was written to the disk: a group at a time, in a thread of its own."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final

GROUP_SECONDS: Final = 0.2
"""The disk is asked to write no later than this after the first record of a group."""

GROUP_RECORDS: Final = 256
"""A writer that is this many records ahead of the disk waits."""


def to_disk(descriptor: int) -> None:
    """Returns when the bytes of an open file are on the disk.

    Raises:
        OSError: They cannot be written.
    """
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # fsync stops at the drive's own cache there
    elif sys.platform == "win32":
        os.fsync(descriptor)
    else:
        os.fdatasync(descriptor)


class GroupSync:
    """Keeps a file's bytes near the disk.

    Args:
        sync: Returns when all that was written before it was called is on the disk.
        last: The number of the last record that is on the disk already.
    """

    def __init__(self, sync: Callable[[], None], last: int) -> None:
        self._sync = sync
        self._written = self._synced = last
        self._closing = False
        self._error: OSError | None = None
        # What each record touches is no Python within, where a Ctrl-C could leave it locked, and
        # wakes nobody but at the first record of a group.
        self._begun: SimpleQueue[None] = SimpleQueue()
        self._urgent: SimpleQueue[None] = SimpleQueue()
        # Entered by its lock, since `Condition.__exit__` is Python.
        self._held = threading.RLock()
        self._changed = threading.Condition(self._held)
        self._thread = threading.Thread(target=self._work, name="spool", daemon=True)
        self._thread.start()

    @property
    def synced(self) -> int:
        """The number of the last record that is on the disk."""
        return self._synced

    def wrote(self, seq: int) -> None:
        """Records up to ``seq`` were written; waits where too many are not on the disk.

        Raises:
            OSError: The disk refused earlier ones.
        """
        self._written = seq
        if self._begun.empty():
            self._begun.put(None)
        waiting = seq - self._synced
        if waiting >= GROUP_RECORDS // 2 and self._urgent.empty():
            self._urgent.put(None)
        if waiting >= GROUP_RECORDS:
            with self._held:
                self._changed.wait_for(
                    lambda: self._written - self._synced < GROUP_RECORDS or self._error
                )
        self._raise()

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until all that was written is on the disk; False where the time was too short.

        Raises:
            OSError: The disk refused.
        """
        wanted = self._written
        with self._held:
            if self._synced < wanted:
                self._hurry()
            done = self._changed.wait_for(lambda: self._synced >= wanted or self._error, timeout)
            self._raise()
            return bool(done)

    def close(self) -> None:
        """Ends the thread, when everything is on the disk.

        Raises:
            OSError: The disk refused.
        """
        self._closing = True
        self._hurry()
        self._thread.join()
        self._raise()

    def _hurry(self) -> None:
        self._urgent.put(None)
        self._begun.put(None)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (seq := self._next_group()) is not None:
            error: OSError | None = None
            try:
                self._sync()
            except OSError as refused:
                error = refused
            with self._held:
                # After an error the kernel may have dropped the bytes: another try would lie.
                self._error = error
                self._synced = self._synced if error else seq
                self._changed.notify_all()
            if error:
                return

    def _next_group(self) -> int | None:
        """Waits for a group; the number of its last record, None at the end."""
        while True:
            if not self._closing:
                self._begun.get()
                self._begun.put(None)  # so that the group's other records wake nobody
                with suppress(Empty):
                    self._urgent.get(timeout=GROUP_SECONDS)
            # Emptied before it is seen how far they reach: a record that comes now puts one again.
            for one in (self._urgent, self._begun):
                while not one.empty():
                    one.get()
            if self._written > self._synced:
                return self._written
            if self._closing:
                return None
