"""The end of a spool whose writer was killed: found, cut off, kept aside and told of."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from structure_net.errors import SpoolError
from structure_net.logging.lines import Stored, parse_line
from structure_net.logging.reading import SPOOL
from structure_net.logging.syncing import GROUP_RECORDS, to_disk

TORN: Final = "records.torn"
"""The name of the file that keeps what was cut off spools."""

_BLOCK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Torn:
    """What was cut off the end of a spool.

    Args:
        path: The file that keeps it.
        size: Bytes.
        after: The number of the last record before it.
    """

    path: Path
    size: int
    after: int

    def __str__(self) -> str:
        return (
            f"{self.size} bytes of unfinished records behind record {self.after} were cut off and "
            f"are kept in {self.path}"
        )


@dataclass(frozen=True, slots=True)
class End:
    """Where a spool goes on.

    Args:
        size: Bytes up to the end of the last good record.
        last: Its number, 0 where there is none.
        torn: What was cut off behind it; None for nothing.
    """

    size: int
    last: int
    torn: Torn | None = None


def mend(descriptor: int, folder: Path) -> End:
    """Cuts the bytes behind the last good record off, after they were kept in ``records.torn``.

    A writer is never further ahead of the disk than one group. More bad lines at the end are
    another damage, at which nothing is cut.

    Args:
        descriptor: The spool, open for reading and writing.
        folder: The folder that it lies in.

    Raises:
        SpoolError: More lines are bad than a killed writer leaves.
        OSError: The rest cannot be kept; the spool is as it was.
    """
    size = os.fstat(descriptor).st_size
    end, last = _last_good(descriptor, size, folder / SPOOL)
    if end == size:
        return End(end, last)
    _keep(folder / TORN, os.pread(descriptor, size - end, end))
    os.ftruncate(descriptor, end)
    to_disk(descriptor)
    return End(end, last, Torn(folder / TORN, size - end, last))


def _last_good(descriptor: int, size: int, path: Path) -> tuple[int, int]:
    """The end of the last good line, and its number."""
    end, bad = size, 0
    while end:
        start = _line_start(descriptor, end)
        line = os.pread(descriptor, end - start, start)
        found = parse_line(line[:-1]) if line.endswith(b"\n") else None
        if isinstance(found, Stored):
            return end, found.seq
        end, bad = start, bad + 1
        if bad > GROUP_RECORDS + 1:
            raise SpoolError(
                f"The last {bad} lines of {path} are no records, which is more than a stopped "
                "writer leaves; nothing was changed. Restore the file from a copy, or move it away."
            )
    return 0, 0


def _line_start(descriptor: int, end: int) -> int:
    """Where the line begins that ends at byte ``end``."""
    place = end - 1
    while place > 0:
        begin = max(0, place - _BLOCK)
        found = os.pread(descriptor, place - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        place = begin
    return 0


def _keep(path: Path, rest: bytes) -> None:
    with path.open("ab") as file:
        file.write(rest if rest.endswith(b"\n") else rest + b"\n")
        file.flush()
        os.fsync(file.fileno())
