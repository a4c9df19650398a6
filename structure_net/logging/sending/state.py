"""What a queue has sent: one small file beside the spool, replaced as a whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from structure_net.errors import SpoolError
from structure_net.files import write_text
from structure_net.logging.lines import Stored, parse_line
from structure_net.logging.reading import last_of, spool_file

QUEUE: Final = "sync.json"
"""The file's name, in the spool's folder."""

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that did not arrive and is not tried again by itself; never acknowledged.

    Args:
        seq: Its number.
        reason: Why, in words.
        attempts: How often it was sent.
    """

    seq: int
    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class QueueState:
    """How far a spool has come at one destination.

    Args:
        acknowledged: Every record up to this number has arrived there, was superseded, or is among
            the dead letters.
        dead: The dead letters.
        intent: The first and the last number of the batch that is on its way; None for none.
        failures: How often in a row nothing could be sent.
        error: What went wrong last; empty if nothing did.
        attempts: How often records that are missing there were sent, by number.
    """

    acknowledged: int = 0
    dead: tuple[DeadLetter, ...] = ()
    intent: tuple[int, int] | None = None
    failures: int = 0
    error: str = ""
    attempts: Mapping[int, int] | None = None

    def failed(self, error: str) -> QueueState:
        """The state after nothing could be sent."""
        return replace(self, failures=self.failures + 1, error=error)


@dataclass(frozen=True, slots=True)
class Status:
    """What waits and what does not.

    Args:
        folder: The spool's.
        destination: The name of the destination.
        last: The number of the spool's last record.
        state: How far it has come.
    """

    folder: Path
    destination: str
    last: int
    state: QueueState

    @property
    def pending(self) -> int:
        """How many records are not acknowledged and no dead letters."""
        return max(0, self.last - self.state.acknowledged)

    @property
    def complete(self) -> bool:
        """Whether everything has arrived."""
        return not self.pending and not self.state.dead

    def __str__(self) -> str:
        dead = len(self.state.dead)
        words = f"{self.folder}: {self.state.acknowledged:,} of {self.last:,} records settled at "
        words += f"{self.destination}, {self.pending:,} pending, {dead} dead"
        return f"{words}. {self.state.error}".rstrip() if self.state.error else f"{words}."


def read_state(folder: Path, destination: str) -> QueueState:
    """The state of a destination; a fresh one where nothing was ever sent to it.

    Raises:
        SpoolError: The file is damaged, or belongs to another spool.
    """
    found = _load(folder).get(destination)
    if found is None:
        return QueueState()
    try:
        if (own := _spool_of(folder)) and found.get("spool") not in (None, own):
            raise SpoolError(
                f"{folder / QUEUE} belongs to another spool than the one in its folder. Move it "
                "away; everything is sent then."
            )
        return QueueState(
            acknowledged=int(found["acknowledged"]),
            dead=tuple(DeadLetter(**one) for one in found["dead"]),
            intent=None if found["intent"] is None else (found["intent"][0], found["intent"][1]),
            failures=int(found["failures"]),
            error=str(found["error"]),
            attempts={int(seq): int(count) for seq, count in (found["attempts"] or {}).items()},
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(folder) from error


def write_state(folder: Path, destination: str, state: QueueState) -> None:
    """Replaces the state of a destination, whole or not at all, on the disk when this returns.

    Raises:
        SpoolError: It cannot be written.
    """
    known = _load(folder)
    spool = _spool_of(folder) or known.get(destination, {}).get("spool")
    known[destination] = {**asdict(state), "spool": spool}
    try:
        write_text(
            folder / QUEUE,
            json.dumps({"version": _VERSION, "destinations": known}, indent=1) + "\n",
        )
    except OSError as error:
        raise SpoolError(
            f"{folder / QUEUE} cannot be written: {error.strerror or error}. Nothing is lost: what "
            "was not noted is sent again. Free some space, then go on."
        ) from error


def read_status(folder: str | Path, destination: str) -> Status:
    """What of a spool waits for a destination.

    Raises:
        SpoolError: There is no spool, the queue's file is damaged, or it is ahead of its spool.
    """
    path = Path(folder)
    state = read_state(path, destination)
    last = last_of(path)
    if last < state.acknowledged:
        raise SpoolError(
            f"{path / QUEUE} says that record {state.acknowledged} has arrived, and the spool does "
            f"not reach so far: it is another one, or lost its end. Move {QUEUE} away; everything "
            "is sent again."
        )
    return Status(path, destination, last, state)


def destinations(folder: str | Path) -> tuple[str, ...]:
    """The names of all destinations to which something of a spool was sent.

    Raises:
        SpoolError: The queue's file is damaged.
    """
    return tuple(_load(Path(folder)))


def _spool_of(folder: Path) -> str | None:
    """What tells a spool from others: a hash of its first line; None where none can be read."""
    try:
        with spool_file(folder).open("rb") as file:
            line = file.readline()
    except SpoolError:
        return None
    whole = line.endswith(b"\n") and isinstance(parse_line(line[:-1]), Stored)
    return sha256(line).hexdigest()[:16] if whole else None


def _load(folder: Path) -> dict[str, Any]:
    path = folder / QUEUE
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    try:
        found = json.loads(text)
        known: dict[str, Any] = found["destinations"]
        version = found["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(folder) from error
    if version != _VERSION or not isinstance(known, dict):
        raise _damaged(folder)
    return known


def _damaged(folder: Path) -> SpoolError:
    return SpoolError(
        f"{folder / QUEUE} is damaged, or of a newer version. Delete it: everything is sent again, "
        "and falls on what has arrived already."
    )
