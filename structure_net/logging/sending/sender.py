"""Sends what is pending, in order: intent, send, verify, acknowledge.

Killed at any moment it loses nothing: what was sent but not acknowledged is sent again, and falls
on itself. What cannot be delivered after several attempts is set aside with the reason, so that the
rest goes on, and is never acknowledged.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from structure_net.errors import RecordError, SpoolError, TrackingError
from structure_net.logging.lines import Stored
from structure_net.logging.locking import unwritten
from structure_net.logging.migrations import check_version
from structure_net.logging.reading import Damage, read, spool_file, superseded
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
        self._looked: tuple[int, tuple[range, ...]] = (-1, ())
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
        the deadline; without one, three times. The queue stays as it was. A record that is damaged
        in the spool becomes a dead letter, and the others go on.

        Args:
            deadline: Seconds; no limit if None.
            progress: Is told after every batch.

        Raises:
            SpoolError: Another process sends this spool, its end is damaged, or a file cannot be
                written.
            RecordError: A newer program wrote what comes next.
        """
        by = None if deadline is None else monotonic() + 0.95 * deadline  # to be back in time
        with _alone(self.folder):
            state = read_state(self.folder, self.destination.name)
            tries = 0
            while True:
                batch, state = self._next(state)
                left = _left(by)
                if batch is None or left < _LEAST:
                    break
                before, (state, wait) = state, self._round(batch, state, left)
                moved = _moved(before, state)
                tries = 0 if moved else tries + 1
                if progress is not None:
                    progress(self.status())
                if not moved and not _pause(tries, by, wait):
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

    def _next(self, state: QueueState) -> tuple[Batch | None, QueueState]:
        """What is sent next, without what a resumed run superseded, and the state before it."""
        told: list[Damage] = []
        dead = {one.seq for one in state.dead}
        records: list[Stored] = []
        last, lost = state.acknowledged, dict[int, str]()
        gone = self._superseded()
        for stored in read(self.folder, last, on_damage=told.append):
            if told:
                why = "; ".join(f"line {one.line} of the spool: {one.what}" for one in told)
                lost |= dict.fromkeys(range(last + 1, stored.seq), why)
                told.clear()
            if not _is_in(stored.seq, gone) and stored.seq not in dead:
                if not _can_be_read(stored, refuse=not records):
                    break
                records.append(stored)
            last = stored.seq
            if len(records) == self._batch:
                break
        letters = tuple(
            DeadLetter(seq, why, 0)
            for seq, why in lost.items()
            if not _is_in(seq, gone) and seq not in dead
        )
        state = replace(state, dead=(*state.dead, *letters))
        if records:
            return Batch(self.folder, tuple(records)), state
        if last > state.acknowledged:  # all that is left was superseded, or is damaged
            state = replace(state, acknowledged=last, intent=None)
            self._write(state)
        if told:
            raise SpoolError(
                f"{told[0]}. What stands before it has been sent; opening the spool to go on with "
                "the run cuts its end off."
            )
        return None, state

    def _superseded(self) -> tuple[range, ...]:
        """The numbers that a resumed run superseded, looked for anew where the spool has grown."""
        size = spool_file(self.folder).stat().st_size
        if size != self._looked[0]:
            self._looked = size, superseded(self.folder)
        return self._looked[1]

    def _round(self, batch: Batch, state: QueueState, left: float) -> tuple[QueueState, float]:
        """One batch: intent, send, verify, acknowledge; and how long one is asked to wait."""
        numbers, wait = batch.numbers, 0.0
        state = replace(state, intent=(numbers[0], numbers[-1]))
        self._write(state)
        try:
            self.destination.reach(left)
            receipt = self.destination.send(batch, left)
        except TrackingError as error:
            state, wait = state.failed(str(error)), error.wait
        else:
            state = settled(batch.numbers, state, receipt, attempts=self._attempts)
        self._write(state)
        return state, wait

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
        path.touch()
    except OSError as error:
        raise SpoolError(f"{path} cannot be made: {error.strerror or error}.") from error
    with unwritten(path):
        yield


def _left(by: float | None) -> float:
    return float("inf") if by is None else by - monotonic()


def _moved(before: QueueState, after: QueueState) -> bool:
    """Whether sending a batch has changed anything about what waits."""
    known = ((one.acknowledged, one.dead, dict(one.attempts or {})) for one in (before, after))
    return next(known) != next(known)


def _is_in(seq: int, ranges: tuple[range, ...]) -> bool:
    place = bisect_right(ranges, seq, key=lambda one: one.start) - 1
    return place >= 0 and seq in ranges[place]


def _can_be_read(stored: Stored, *, refuse: bool) -> bool:
    """Whether this program knows records of this kind and version.

    Raises:
        RecordError: It does not, and ``refuse``.
    """
    from structure_net.logging.records import newest_version

    try:
        check_version(stored.kind, stored.version, newest_version(stored.kind))
    except RecordError:
        if refuse:
            raise
        return False
    return True


def _pause(tries: int, by: float | None, wait: float) -> bool:
    """Waits before the next attempt; False where there is none.

    Args:
        tries: How many attempts brought nothing.
        by: When there is no time left.
        wait: How long the destination asks to be left alone.
    """
    if wait > _LONGEST_PAUSE or (by is None and tries >= ATTEMPTS):
        return False
    pause = max(wait, min(_LONGEST_PAUSE, 0.5 * 2**tries))
    if _left(by) <= pause + _LEAST:
        return False
    sleep(pause)
    return True
