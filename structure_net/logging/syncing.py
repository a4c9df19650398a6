"""Bringing what was written to the disk: a group at a time, in a thread of its own."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Final

GROUP_SECONDS: Final = 0.025
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
        self._urgent = False
        self._closing = False
        self._error: OSError | None = None
        # Entered by its lock, which a Ctrl-C cannot leave locked: `Condition.__exit__` is Python.
        self._held = threading.RLock()
        self._changed = threading.Condition(self._held)
        self._thread = threading.Thread(target=self._work, name="spool", daemon=True)
        self._thread.start()

    @property
    def synced(self) -> int:
        """The number of the last record that is on the disk."""
        return self._synced

    def wrote(self, seq: int) -> None:
        """A record was written; waits where too many are not on the disk.

        Raises:
            OSError: The disk refused earlier ones.
        """
        with self._held:
            self._written = seq
            waiting = seq - self._synced
            if waiting == 1 or waiting >= GROUP_RECORDS // 2:
                self._changed.notify_all()
            if waiting >= GROUP_RECORDS:
                self._changed.wait_for(
                    lambda: self._written - self._synced < GROUP_RECORDS or self._error
                )
            self._raise()

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until all that was written is on the disk; False where the time was too short.

        Raises:
            OSError: The disk refused.
        """
        with self._held:
            wanted = self._written
            self._urgent = True
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: self._synced >= wanted or self._error, timeout)
            self._raise()
            return bool(done)

    def close(self) -> None:
        """Ends the thread, when everything is on the disk.

        Raises:
            OSError: The disk refused.
        """
        with self._held:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self._raise()

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
        with self._held:
            self._changed.wait_for(lambda: self._written > self._synced or self._closing)
            if self._written == self._synced:
                return None
            self._changed.wait_for(self._full, GROUP_SECONDS)
            self._urgent = False
            return self._written

    def _full(self) -> bool:
        behind = self._written - self._synced
        return self._urgent or self._closing or behind >= GROUP_RECORDS // 2
