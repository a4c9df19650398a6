"""A sink behind a queue in a thread of its own, so that its troubles are not the run's.

The queue holds the newest records only. A sink that fell further behind reads what it has not got
from the spool, so that a slow sink misses nothing and costs no memory.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from time import monotonic, sleep, thread_time
from typing import Final, Protocol, runtime_checkable

from structure_net.logging.lines import Stored
from structure_net.logging.reading import read

CAPACITY: Final = 4096
"""Records that wait in memory for a sink."""

GATHERING: Final = 0.02
"""Seconds for which a sink's thread lets records gather."""

_GLANCE: Final = 0.2
PATIENCE: Final = 10
"""A sink that fails this often in a row is given up."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the records of a stream come from.

    Args:
        folder: The spool's.
        after: The number of the last record before the stream began; above 0 in a resumed run.
    """

    folder: Path
    after: int


@runtime_checkable
class Sink(Protocol):
    """Takes records and hands them on; called by one thread only, which may not be the run's.

    Whatever it raises, however long it takes: the run goes on.
    """

    @property
    def name(self) -> str:
        """What it is called in reports."""

    def open(self, source: Source) -> None:
        """The stream begins."""

    def write(self, stored: Stored) -> None:
        """A record was written to the spool; ``stored.record`` is the typed record."""

    def flush(self, deadline: float) -> None:
        """Hands on what waits, within ``deadline`` seconds."""

    def close(self) -> None:
        """The stream is over."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a sink missed.

    Args:
        sink: Its name.
        first: The number of the first record that it missed.
        last: The number of the last one.
        records: How many it missed.
        reason: Why, in words.
    """

    sink: str
    first: int
    last: int
    records: int
    reason: str


class GuardedSink:
    """A sink that cannot stop or slow the run.

    Args:
        sink: Is opened, written to, flushed and closed by one thread of its own.
        capacity: How many records wait in memory.
    """

    def __init__(self, sink: Sink, *, capacity: int = CAPACITY) -> None:
        self.name = str(sink.name)
        self._sink = sink
        self._queue: deque[Stored] = deque(maxlen=capacity)
        # What the run's thread touches is no Python within, where a Ctrl-C could leave it locked.
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._held = threading.RLock()
        self._idle = threading.Condition(self._held)
        self._source: Source | None = None
        self._offered = self._done = self._kept = 0
        self._missed: list[int] = []  # first, last, how many
        self._reason = ""
        self._errors = 0
        self._flush_by: float | None = None
        self._closing = False
        self._over = False
        self._computed = 0.0
        self._thread = threading.Thread(target=self._work, name=f"sink {self.name}", daemon=True)

    def open(self, source: Source) -> None:
        """The stream begins; the sink is opened by its thread."""
        self._source = source
        self._offered = self._done = self._kept = source.after
        try:
            self._thread.start()
        except RuntimeError as error:  # the system has no more threads
            self._note(error)
            self._over = True

    def write(self, stored: Stored) -> None:
        """Leaves a record for the sink and returns at once."""
        self._offered = max(self._offered, stored.seq)
        self._queue.append(stored)
        if self._wake.empty():
            self._wake.put(None)

    def owe(self, last: int) -> None:
        """Tells that the spool reaches to record ``last``; what was not written is read there.

        A Ctrl-C may have come between the spool and the sinks.
        """
        self._offered = max(self._offered, last)

    def flush(self, deadline: float) -> bool:
        """Waits until the sink has what was written and has flushed; at most ``deadline`` seconds.

        Returns:
            Whether it is done, or has been given up.
        """
        by = monotonic() + deadline
        with self._held:
            self._flush_by = by
            self._wake.put(None)
            return self._idle.wait_for(lambda: self._flush_by is None or self._over, deadline)

    def retire(self, deadline: float) -> None:
        """Tells the sink to finish within ``deadline`` seconds, and returns at once."""
        with self._held:
            self._flush_by = monotonic() + deadline
            self._closing = True
            self._wake.put(None)

    def close(self, deadline: float = 10.0) -> Trouble | None:
        """Ends the sink after at most ``deadline`` seconds; one that is stuck is left behind.

        Returns:
            What it missed; None for nothing.
        """
        if not self._closing:
            self.retire(deadline)
        by = monotonic() + deadline
        while self._thread.is_alive() and (left := by - monotonic()) > 0:
            # In short waits: Python does not notice a Ctrl-C that comes as it begins to wait.
            self._thread.join(min(left, _GLANCE))
        return self.trouble

    @property
    def cost(self) -> tuple[int, float]:
        """How many records its thread has handed to the sink, and the seconds it computed for."""
        after = 0 if self._source is None else self._source.after
        return self._done - after, self._computed

    @property
    def trouble(self) -> Trouble | None:
        """What the sink has missed so far; None for nothing."""
        missed, done, offered = list(self._missed), self._done, self._offered
        reason = self._reason
        if (self._closing or self._over) and done < offered:  # it is stuck, or was given up
            first, count = (missed[0], missed[2]) if missed else (done + 1, 0)
            missed = [first, offered, count + offered - done]
            reason = reason or "it did not take them in time"
        if not missed:
            return None
        return Trouble(self.name, missed[0], missed[1], missed[2], reason)

    def _work(self) -> None:
        assert self._source is not None
        try:
            self._sink.open(self._source)
            while self._turn():
                pass
        except BaseException as error:  # noqa: BLE001 - whatever a sink does, the run goes on
            self._note(error)
        self._finish()

    def _turn(self) -> bool:
        """One round of the thread; whether there is another."""
        self._wake.get()
        if not self._hurry:
            # One wake-up for many records: each costs the run's thread a turn at the interpreter.
            sleep(GATHERING)
        while not self._wake.empty():
            self._wake.get()
        while self._queue and self._errors < PATIENCE:
            self._take(self._queue.popleft())
        if self._hurry and self._done < self._offered:
            self._catch_up(self._offered)
        if self._errors >= PATIENCE:
            return False
        self._flush_if_asked()
        self._computed = thread_time()
        return not self._closing or bool(self._queue)

    @property
    def _hurry(self) -> bool:
        return self._closing or self._flush_by is not None

    def _take(self, stored: Stored) -> None:
        if stored.seq > self._done + 1:  # the queue let older ones go
            self._catch_up(stored.seq - 1)
        if stored.seq == self._done + 1:
            self._hand(stored)

    def _catch_up(self, last: int) -> None:
        """Reads from the spool what has not come by the queue, up to record ``last``."""
        assert self._source is not None
        for stored in read(self._source.folder, self._done):
            if stored.seq > last or self._errors >= PATIENCE:
                break
            self._hand(stored)

    def _hand(self, stored: Stored) -> None:
        try:
            self._sink.write(stored)
            self._errors = 0
        except Exception as error:  # noqa: BLE001 - whatever a sink raises, the run goes on
            self._errors += 1
            self._note(error)
            first, _, count = self._missed or (stored.seq, 0, 0)
            self._missed = [first, stored.seq, count + 1]
        self._done = stored.seq

    def _flush_if_asked(self) -> None:
        if self._flush_by is None or self._done < self._offered:
            return
        try:
            self._sink.flush(max(0.0, self._flush_by - monotonic()))
            self._kept = self._done
        except Exception as error:  # noqa: BLE001 - as above
            self._lose(error)
        with self._held:
            self._flush_by = None
            self._idle.notify_all()

    def _lose(self, error: BaseException) -> None:
        """What the sink has taken since it was last flushed may be nowhere."""
        self._note(error)
        if self._done > self._kept:
            first, _, count = self._missed or (self._kept + 1, 0, 0)
            lost = max(count, self._done - self._kept)
            self._missed = [min(first, self._kept + 1), self._done, lost]

    def _note(self, error: BaseException) -> None:
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        self._reason = self._reason or " ".join(said.split())[:500]

    def _finish(self) -> None:
        try:
            self._sink.close()
        except BaseException as error:  # noqa: BLE001 - as above
            self._lose(error)
        with self._held:
            self._over = True
            self._idle.notify_all()
