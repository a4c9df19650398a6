"""Reading a spool: lazily, from any record on, while it is written.

Readers need no lock: a line is whole once its end is there, and what stands before it never
changes. The unfinished line of a writer at work is not read.
"""

from __future__ import annotations

import errno
import os
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from structure_net.errors import SpoolError
from structure_net.logging.lines import Stored, parse_line

SPOOL: Final = "records.jsonl"
"""The name of the file that holds a spool's records."""

_BLOCK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Damage:
    """Something wrong with a spool.

    Args:
        path: The file.
        line: The line, from 1.
        what: What is wrong with it.
    """

    path: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}: {self.what}"


OnDamage = Callable[[Damage], None]


def spool_file(folder: str | Path) -> Path:
    """The file of the spool in ``folder``.

    Raises:
        SpoolError: There is none.
    """
    path = Path(folder) / SPOOL
    if not path.is_file():
        raise SpoolError(f"{folder} holds no {SPOOL}, so it is no spool. Name a run's folder.")
    return path


def open_spool(path: Path) -> BinaryIO:
    """The file of a spool, open for reading.

    Raises:
        SpoolError: The system refuses it.
    """
    try:
        return path.open("rb")
    except OSError as error:
        way_out = "Say where it is, and see that you may read it."
        if error.errno in (errno.EMFILE, errno.ENFILE):
            way_out = "Close files, or raise the limit (`ulimit -n`), then read on."
        raise SpoolError(f"{path} cannot be read: {error.strerror}. {way_out}") from error


def read(
    folder: str | Path, after: int = 0, *, on_damage: OnDamage | None = None
) -> Iterator[Stored]:
    """The records of a spool in order, one at a time; a record is found in logarithmic time.

    Args:
        folder: The spool's.
        after: Only what has a higher number.
        on_damage: Is told of every damaged or missing line, which is then left out.

    Raises:
        SpoolError: There is no spool, or, without ``on_damage``, a line is damaged or missing.
    """
    path = spool_file(folder)
    tell = on_damage or _refuse
    with open_spool(path) as file:
        place = _place_after(file, after)
        file.seek(place)
        yield from _checked(path, file, place, after, tell)


def _refuse(damage: Damage) -> None:
    raise SpoolError(
        f"{damage}. The other records can be read: `structure-net validate` lists what is wrong, "
        "and `read(..., on_damage=...)` leaves it out."
    )


def _checked(
    path: Path, file: BinaryIO, place: int, after: int, tell: OnDamage
) -> Iterator[Stored]:
    """The good lines with a number above ``after``; bad lines and gaps are told of."""
    last = after
    bad: list[tuple[int, str]] = []
    for line in file:
        if not line.endswith(b"\n"):
            return  # its writer is not done with it; nothing can stand behind it
        found = parse_line(line[:-1])
        if isinstance(found, str):
            bad.append((place, f"the record is damaged: {found}"))
        elif found.seq <= after:
            bad = []
        else:
            if last == after > 0:  # bad lines may stand for records up to `after`
                bad = bad[max(0, len(bad) - (found.seq - after - 1)) :]
            gap = gap_before(last, found.seq, len(bad))
            _tell(path, bad if gap is None else [*bad, (place, gap)], tell)
            bad = []
            if found.seq > last:
                last = found.seq
                yield found
        place += len(line)
    _tell(path, bad, tell)


def gap_before(last: int, seq: int, bad: int) -> str | None:
    """What is wrong with number ``seq`` behind record ``last`` and ``bad`` damaged lines."""
    if seq <= last:
        return f"record {seq} stands behind record {last}"
    if seq - last - 1 <= bad:
        return None
    missing = f"record {last + 1}" if seq == last + 2 else f"records {last + 1} to {seq - 1}"
    return f"{missing} should stand before record {seq}"


def _tell(path: Path, problems: list[tuple[int, str]], tell: OnDamage) -> None:
    for place, what in problems:
        tell(Damage(path, _line_number(path, place), what))


def _line_number(path: Path, place: int) -> int:
    """The number of the line that begins at byte ``place``, from 1."""
    number, left = 1, place
    with open_spool(path) as file:
        while left > 0 and (block := file.read(min(_BLOCK, left))):
            number += block.count(b"\n")
            left -= len(block)
    return number


def _place_after(file: BinaryIO, after: int) -> int:
    """Where to begin to read: the start of a line at or before the first record above ``after``."""
    low, high = 0, file.seek(0, os.SEEK_END)
    while after and high - low > _BLOCK:
        middle = (low + high) // 2
        start, seq = _next_number(file, middle, high)
        if seq is None or seq > after:
            high = middle
        else:
            low = start
    return low


def _next_number(file: BinaryIO, place: int, end: int) -> tuple[int, int | None]:
    """The first good line that begins behind ``place``: its start and its number.

    The number of a damaged line may be any, which would lead astray.
    """
    file.seek(place)
    start = place + len(file.readline())
    while start < end and (line := file.readline()):
        found = parse_line(line.removesuffix(b"\n"))
        if isinstance(found, Stored):
            return start, found.seq
        start += len(line)
    return start, None


def current(
    folder: str | Path, after: int = 0, *, on_damage: OnDamage | None = None
) -> Iterator[Stored]:
    """The records that stand: without those that a resumed run superseded.

    What stands is decided when the first record is asked for.

    Args:
        folder: The spool's.
        after: Only what has a higher number.
        on_damage: As for `read`.

    Raises:
        SpoolError: There is no spool, or, without ``on_damage``, a line is damaged or missing.
    """
    gone = superseded(folder)
    starts = [one.start for one in gone]
    for stored in read(folder, after, on_damage=on_damage):
        place = bisect_right(starts, stored.seq) - 1
        if place < 0 or stored.seq not in gone[place]:
            yield stored


def first_of(folder: str | Path) -> Stored:
    """The first good record of a spool, whatever is damaged before it.

    Raises:
        SpoolError: There is no spool, or no good record in it.
    """
    for stored in read(folder, on_damage=lambda _: None):
        return stored
    raise SpoolError(f"{spool_file(folder)} holds no record that can be read.")


def last_of(folder: str | Path) -> int:
    """The number of the last good record of a spool, found from its end; 0 where there is none.

    Raises:
        SpoolError: There is no spool.
    """
    size = _BLOCK
    with open_spool(spool_file(folder)) as file:
        end = file.seek(0, os.SEEK_END)
        while True:
            start = max(0, end - size)
            file.seek(start)
            whole = file.read(end - start).split(b"\n")[:-1]  # what follows is unfinished
            for line in reversed(whole[1:] if start else whole):
                found = parse_line(line)
                if isinstance(found, Stored):
                    return found.seq
            if not start:
                return 0
            size *= 4


def superseded(folder: str | Path) -> tuple[range, ...]:
    """The numbers of the records that resumed runs superseded, in order and apart.

    Raises:
        SpoolError: There is no spool, or a record of a resumption does not say from where.
    """
    found: list[range] = []
    with open_spool(spool_file(folder)) as file:
        for line in file:
            if b'"kind":"resumed"' not in line[:200]:
                continue
            stored = parse_line(line.rstrip(b"\n"))
            if isinstance(stored, Stored) and stored.kind == "resumed":
                first = _after(stored) + 1
                while found and found[-1].stop >= first:
                    first = min(first, found.pop().start)
                found.append(range(first, stored.seq))
    return tuple(found)


def _after(resumed: Stored) -> int:
    after = resumed.data.get("after")
    if type(after) is not int or not 0 <= after < resumed.seq:
        raise SpoolError(
            f"Record {resumed.seq} says that a run was resumed after record {after!r:.40}, which "
            "must be a number from 0 to below its own: what stands cannot be told. Restore the "
            "spool from a copy."
        )
    return after
