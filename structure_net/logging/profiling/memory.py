"""The memory of this process, read now or watched while it works."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

INTERVAL: Final = 0.05
"""Seconds between two looks of a watch."""

_STATM: Final = Path("/proc/self/statm")


def resident_bytes() -> int | None:
    """The memory that this process holds (RSS), shared pages included; None outside Linux."""
    try:
        return _resident(_STATM.read_bytes())
    except OSError:
        return None


def own_bytes() -> int | None:
    """The memory that this process holds by itself; None outside Linux.

    Pages of files that are mapped (data sets, libraries) are left out: they are shared with other
    processes, and the system takes them back when it needs them.
    """
    try:
        text = _STATM.read_bytes()
    except OSError:
        return None
    return _resident(text) - int(text.split()[2]) * os.sysconf("SC_PAGE_SIZE")


def _resident(text: bytes) -> int:
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")


class MemoryWatch:
    """Reads the process's memory every 50 ms in a thread of its own.

    Args:
        see: Is told of each reading and the one before, in that thread.
    """

    def __init__(self, see: Callable[[int, int], None]) -> None:
        self.last = 0
        self.peak: int | None = None
        self._see = see
        self._working = threading.Lock()  # whose wait, unlike an event's, is no Python
        self._descriptor: int | None = None
        self._thread = threading.Thread(target=self._work, name="memory watch", daemon=True)

    def start(self) -> None:
        """Begins to look; where the system does not tell, nothing happens."""
        with suppress(OSError):
            self._descriptor = os.open(_STATM, os.O_RDONLY)
            self.look()
            self._working.acquire()
            self._thread.start()

    def stop(self) -> None:
        """Looks a last time and ends the thread."""
        if self._descriptor is None:
            return
        self._working.release()
        self._thread.join()
        self.look()
        os.close(self._descriptor)
        self._descriptor = None

    def look(self) -> int:
        """The process's memory now, in bytes; 0 where the system does not tell."""
        if self._descriptor is None:
            return self.last
        self.last = _resident(os.pread(self._descriptor, 128, 0))
        self.peak = max(self.peak or 0, self.last)
        return self.last

    def _work(self) -> None:
        while not self._working.acquire(timeout=INTERVAL):
            before = self.last
            self._see(self.look(), before)
