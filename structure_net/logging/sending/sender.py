"""Sends what is pending, in order: intent, send, verify, acknowledge.

Killed at any moment it loses nothing: what was sent but not acknowledged is sent again, and falls
on itself. What cannot be delivered after several attempts is set aside with the reason, so that the
rest goes on, and is never acknowledged.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from structure_net.errors import SpoolError, TrackingError
from structure_net.logging.locking import lock, release
from structure_net.logging.reading import current, read, spool_file
from structure_net.logging.sending.destination import Batch, Destination, Receipt
from structure_net.logging.sending.state import (
    DeadLetter,
    QueueState,
    Status,
    read_state,
    read_status,
    write_state,
)

BATCH: Final = 5000
"""The most records that are sent together."""

ATTEMPTS: Final = 3
"""How often a record is sent before it becomes a dead letter."""

_LONGEST_PAUSE: Final = 30.0
_LEAST: Final = 1.0

Progress = Callable[[Status], None]


class Sender:
    """The queue of one spool for one destination; one process at a time.

    Args:
        folder: The spool's.
        destination: Where to.
        batch: The most records that are sent together.
        attempts: How often a record is sent before it becomes a dead letter.

    Raises:
        SpoolError: There is no spool in the folder.
    """

    def __init__(
        self,
        folder: str | Path,
        destination: Destination,
        *,
        batch: int = BATCH,
        attempts: int = ATTEMPTS,
    ) -> None:
        if batch < 1 or attempts < 1:
            raise ValueError(f"batch and attempts must be at least 1; got {batch}, {attempts}.")
        self.folder = Path(folder)
        self.destination = destination
        self._batch = batch
        self._attempts = attempts
        spool_file(self.folder)

    def status(self) -> Status:
        """What waits and what does not; sends nothing.

        Raises:
            SpoolError: The spool or the queue's file is damaged.
        """
        return read_status(self.folder, self.destination.name)

    def drain(self, *, deadline: float | None = None, progress: Progress | None = None) -> Status:
        """Sends until nothing is pending, or for ``deadline`` seconds.

        Where the destination cannot be reached it is tried again, after pauses that double, until
        the deadline; without one, three times. The queue stays as it was.

        Args:
            deadline: Seconds; no limit if None.
            progress: Is told after every batch.

        Raises:
            SpoolError: Another process sends this spool, or a file is damaged or cannot be written.
        """
        by = None if deadline is None else monotonic() + 0.95 * deadline  # to be back in time
        with _alone(self.folder):
            state = read_state(self.folder, self.destination.name)
            tries = 0
            while (batch := self._next(state)) is not None:
                left = _left(by)
                if left < _LEAST:
                    break
                before = state.acknowledged, len(state.dead), dict(state.attempts or {})
                state = self._round(batch, state, left)
                moved = before != (
                    state.acknowledged, len(state.dead), dict(state.attempts or {})
                )  # fmt: skip
                tries = 0 if moved else tries + 1
                if progress is not None:
                    progress(self.status())
                if not moved and not _pause(tries, by):
                    break
        return self.status()

    def again(self) -> Status:
        """Takes the dead letters back into the queue: all from the first of them on is pending.

        Raises:
            SpoolError: Another process sends this spool, or a file is damaged or cannot be written.
        """
        with _alone(self.folder):
            state = read_state(self.folder, self.destination.name)
            if state.dead:
                first = min(one.seq for one in state.dead)
                fresh = QueueState(acknowledged=min(state.acknowledged, first - 1))
                self._write(fresh)
        return self.status()

    def _next(self, state: QueueState) -> Batch | None:
        """What is sent next: what stands, without what a resumed run superseded."""
        dead = {one.seq for one in state.dead}
        pending = (one for one in current(self.folder, state.acknowledged) if one.seq not in dead)
        records = tuple(islice(pending, self._batch))
        if records:
            return Batch(self.folder, records)
        end = state.acknowledged
        for stored in read(self.folder, end):
            end = stored.seq
        if end > state.acknowledged:  # all that is left was superseded
            self._write(replace(state, acknowledged=end, intent=None))
        return None

    def _round(self, batch: Batch, state: QueueState, left: float) -> QueueState:
        """One batch: intent, send, verify, acknowledge."""
        numbers = batch.numbers
        state = replace(state, intent=(numbers[0], numbers[-1]))
        self._write(state)
        try:
            self.destination.reach(left)
            receipt = self.destination.send(batch, left)
        except TrackingError as error:
            state = state.failed(str(error))
        else:
            state = settled(batch.numbers, state, receipt, attempts=self._attempts)
        self._write(state)
        return state

    def _write(self, state: QueueState) -> None:
        write_state(self.folder, self.destination.name, state)


def settled(
    numbers: tuple[int, ...], state: QueueState, receipt: Receipt, *, attempts: int
) -> QueueState:
    """The state after a batch was sent: acknowledged up to the first record that may yet come.

    Args:
        numbers: Of the batch's records, in order.
        state: Before it.
        receipt: What became of it.
        attempts: How often a record is sent before it becomes a dead letter.
    """
    before = state.attempts or {}
    guilty = receipt.blamed | receipt.hopeless
    counts = {seq: before.get(seq, 0) + (seq in guilty) for seq in receipt.missing}
    lost = {seq for seq, count in counts.items() if count >= attempts or seq in receipt.hopeless}
    dead = tuple(DeadLetter(seq, receipt.missing[seq], counts[seq]) for seq in sorted(lost))
    waiting = sorted(set(counts) - lost)
    through = numbers[-1] if not waiting else _before(numbers, waiting[0], state.acknowledged)
    error = receipt.missing[waiting[0]] if waiting else ""
    return QueueState(
        acknowledged=through,
        dead=(*state.dead, *dead),
        intent=None,
        failures=0,
        error=error,
        attempts={seq: counts[seq] for seq in waiting if counts[seq]},
    )


def _before(numbers: tuple[int, ...], seq: int, otherwise: int) -> int:
    earlier = [number for number in numbers if number < seq]
    return max(earlier, default=otherwise)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds the queue's lock for the block."""
    path = folder / "sync.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
    except OSError as error:
        raise SpoolError(f"{path} cannot be made: {error.strerror or error}.") from error
    try:
        lock(descriptor, path)
        yield
    finally:
        release(descriptor)


def _left(by: float | None) -> float:
    return float("inf") if by is None else by - monotonic()


def _pause(tries: int, by: float | None) -> bool:
    """Waits before the next attempt; False where there is none."""
    if by is None and tries >= ATTEMPTS:
        return False
    pause = min(_LONGEST_PAUSE, 0.5 * 2**tries)
    if _left(by) <= pause + _LEAST:
        return False
    sleep(pause)
    return True
