"""One stream of records: the spool first, then everything that listens."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, NoReturn, Self

from structure_net.errors import SpoolError
from structure_net.logging.guarding import GuardedSink, Sink, Source, Trouble
from structure_net.logging.spool import Spool

if TYPE_CHECKING:
    from structure_net.logging.records import RecordModel


class RecordStream:
    """Hands each record to the spool, and when it is there, to all sinks.

    A spool that cannot be written stops the run by its error. A sink that fails, blocks or dies
    does not: see `GuardedSink`. What sinks missed is written to the spool at the end.

    Args:
        spool: The truth; it is closed with the stream.
        sinks: Where records go besides.
        patience: Seconds that all sinks together have to finish when the stream is closed.
    """

    def __init__(self, spool: Spool, sinks: Iterable[Sink] = (), *, patience: float = 10.0) -> None:
        self.spool = spool
        self._patience = patience
        self._closed = False
        self._before: list[Callable[[], None]] = []
        self._process = os.getpid()
        self._sinks = tuple(GuardedSink(sink) for sink in sinks)
        source = Source(spool.folder, spool.last)
        for sink in self._sinks:
            sink.open(source)

    def emit(self, record: RecordModel) -> int:
        """Writes a record and returns its number.

        Raises:
            SpoolError: The spool cannot be written; the run should stop.
        """
        return self.emit_all((record,))

    def emit_all(self, records: Sequence[RecordModel]) -> int:
        """Writes records at once, and returns the number of the last one.

        Raises:
            SpoolError: The spool cannot be written; the run should stop.
        """
        written = self.spool.extend(records)
        for sink in self._sinks:
            for stored in written:
                sink.write(stored)
        return written[-1].seq if written else self.spool.last

    def before_close(self, action: Callable[[], None]) -> None:
        """Has ``action`` called when the stream is closed, while records can still be written.

        Args:
            action: Writes what waits to be written.
        """
        self._before.append(action)

    def flush(self, deadline: float = 10.0) -> bool:
        """Waits until everything is on the disk and with the sinks; False if time was too short.

        Raises:
            SpoolError: The disk refuses the records.
        """
        self.spool.flush()
        by = monotonic() + deadline
        for sink in self._sinks:
            sink.owe(self.spool.last)
        done = [sink.flush(max(0.0, by - monotonic())) for sink in self._sinks]
        return all(done)

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """What sinks have missed so far."""
        found = (sink.trouble for sink in self._sinks)
        return tuple(trouble for trouble in found if trouble is not None)

    @property
    def sink_costs(self) -> dict[str, tuple[int, float]]:
        """By sink: the records it took so far, and the seconds that its thread computed for."""
        return {sink.name: sink.cost for sink in self._sinks}

    def close(self) -> tuple[Trouble, ...]:
        """Ends sinks and spool; a second call does nothing more, nor one in a forked process.

        Returns:
            What sinks missed, which the last records of the spool say too.

        Raises:
            SpoolError: The disk refuses the records.
        """
        if self._closed or self._process != os.getpid():
            return self.troubles
        try:
            self._settle()
            by = monotonic() + self._patience
            self._retire_sinks()
            for sink in self._sinks:
                sink.close(max(0.0, by - monotonic()))
        finally:  # a Ctrl-C ends the waiting for sinks
            try:
                self._retire_sinks()
                self._tell_of_troubles()
            finally:
                self.spool.close()
                self._closed = True
        return self.troubles

    def _settle(self) -> None:
        while self._before:
            self._before.pop()()

    def _retire_sinks(self) -> None:
        with suppress(SpoolError):  # a refusal was told already, and is told again
            self.spool.flush(0.0)
        for sink in self._sinks:
            sink.owe(self.spool.last)
            sink.retire(self._patience)

    def _tell_of_troubles(self) -> None:
        for trouble in self.troubles:
            self.spool.append(_missed(trouble))

    def __reduce__(self) -> NoReturn:
        self.spool.__reduce__()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()


def _missed(trouble: Trouble) -> RecordModel:
    from structure_net.logging.records import Missed

    return Missed(
        sink=trouble.sink,
        first=trouble.first,
        last=trouble.last,
        records=trouble.records,
        reason=trouble.reason,
    )
