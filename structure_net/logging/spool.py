"""The spool: one append-only file of records for each run, which is the truth about it.

A record is handed to the operating system, whole or not at all, before `Spool.append` returns: a
killed process loses nothing of it. When it is on the disk, so that a power cut loses nothing
either, is the caller's choice: ``durable="record"`` waits for each; ``durable="group"`` lets the
disk lag behind by at most 256 records, and asks it to write at most 200 ms after the first of them.
`Spool.flush` waits for all.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NoReturn, Self

from structure_net.errors import SpoolError
from structure_net.logging.blobs import Blob, flush_folder, put_blob
from structure_net.logging.lines import Stored, line_of, now_text, stored_from
from structure_net.logging.locking import lock, release
from structure_net.logging.mending import Torn, mend
from structure_net.logging.reading import SPOOL
from structure_net.logging.syncing import GroupSync, to_disk

if TYPE_CHECKING:
    from structure_net.logging.records import RecordModel

Durable = Literal["record", "group"]


class Spool:
    """The one writer of the spool in a folder; any number of others may read it meanwhile.

    What a killed writer left unfinished is cut off when the spool is opened; `torn` tells.

    Args:
        folder: Is made if it does not exist. The file in it is ``records.jsonl``.
        durable: When a record is on the disk; see the module.

    Raises:
        SpoolError: Another process writes to it, it is damaged beyond its end, or it cannot be
            written.
    """

    def __init__(self, folder: str | Path, *, durable: Durable = "group") -> None:
        if durable not in ("record", "group"):
            raise ValueError(f"durable must be 'record' or 'group'; got {durable!r}.")
        self.folder = Path(folder).absolute()  # the program may go to another folder
        self._path = self.folder / SPOOL
        self._broken: str | None = None
        self._closed = self._released = False
        self._lines: list[bytes] = []
        self._end = (0, 0)
        self._process = os.getpid()
        self._lock = threading.Lock()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = _opened(self._path)
        except OSError as error:
            raise self._refused(error) from error
        try:
            _check_regular(self._descriptor)
            lock(self._descriptor, self._path)
            end = mend(self._descriptor, self.folder)
            self._sync()
            flush_folder(self.folder)
        except OSError as error:
            release(self._descriptor)
            raise self._refused(error) from error
        except SpoolError:
            release(self._descriptor)
            raise
        self._end, self.torn = (end.size, end.last), end.torn
        try:
            self._group = GroupSync(self._sync, end.last) if durable == "group" else None
        except RuntimeError as error:
            release(self._descriptor)
            raise SpoolError(
                f"{self._path} cannot be written: {error}. End other threads, or ask for "
                "durable='record', which needs none."
            ) from error

    torn: Torn | None
    """What was cut off when it was opened; None for nothing."""

    @property
    def last(self) -> int:
        """The number of the last record, 0 where there is none."""
        return self._end[1]

    @property
    def acknowledged(self) -> int:
        """The number of the last record that is on the disk."""
        return self.last if self._group is None else self._group.synced

    def append(self, record: RecordModel) -> Stored:
        """Writes a record.

        Returns:
            The record with its number and time.

        Raises:
            SpoolError: It cannot be written: the disk is full, say. It has no number then, what was
                written before can be read, and a later call may succeed if the cause is gone.
        """
        return self.extend((record,))[0]

    def extend(self, records: Sequence[RecordModel]) -> list[Stored]:
        """Writes several records at once: all of them, or, where the disk refuses, none.

        A process that is killed meanwhile may leave the first of them.

        Returns:
            The records with their numbers and the time that they share.

        Raises:
            SpoolError: As in `append`.
        """
        self._check()
        with self._lock:
            self._check()
            self._settle()
            time, first = now_text(), self.last + 1
            made = [stored_from(first + k, time, record) for k, record in enumerate(records)]
            self._write([line_of(stored) for stored in made])
            self._durable()
            return made

    def put(self, content: bytes | Path, *, link: bool = False) -> Blob:
        """Keeps bytes, or a copy of a file, beside the records; see `put_blob`.

        Raises:
            SpoolError: Also where the spool was moved or deleted meanwhile.
        """
        self._check()
        try:
            self._check_place()
        except OSError as error:
            raise self._fail(error) from error
        return put_blob(self.folder, content, link=link)

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until every record is on the disk; False where ``timeout`` seconds were too few.

        Raises:
            SpoolError: The disk refuses them.
        """
        self._check()
        with self._lock:
            self._check()
            self._settle()
            self._durable()  # a Ctrl-C may have come before the disk was asked for the last ones
        try:
            return True if self._group is None else self._group.flush(timeout)
        except OSError as error:
            raise self._fail(error) from error

    def close(self) -> None:
        """Brings every record to the disk and lets others write; a second call does nothing.

        Raises:
            SpoolError: The disk refuses them.
        """
        if self._released or self._process != os.getpid():
            return
        self._closed = True
        try:
            if self._group is not None:
                self._group.close()
            if self._broken is None:
                self._sync()
        except OSError as error:
            raise self._refused(error) from error
        finally:
            release(self._descriptor)
            self._released = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise SpoolError(
            f"{self._path} belongs to process {self._process} and cannot be handed to another one. "
            "Open a spool of its own there in another folder, or hand records back."
        )

    def _check(self) -> None:
        if self._process != os.getpid():
            raise SpoolError(
                f"{self._path} belongs to process {self._process}, from which this one was forked. "
                "Open a spool of its own in another folder."
            )
        if self._closed:
            raise SpoolError(f"{self._path} was closed by this program. Open the spool anew.")
        if self._broken is not None:
            raise SpoolError(self._broken)

    def _settle(self) -> None:
        """Finds out whether records whose writing was interrupted (Ctrl-C) are there."""
        if not self._lines:
            return
        (size, last), more = self._end, sum(map(len, self._lines))
        if os.fstat(self._descriptor).st_size == size + more:
            self._end = (size + more, last + len(self._lines))
            self._durable()
        else:
            os.ftruncate(self._descriptor, size)
        self._lines = []

    def _write(self, lines: list[bytes]) -> None:
        self._lines, content = lines, b"".join(lines)
        try:
            written = os.write(self._descriptor, content)
            while written < len(content):
                written += os.write(self._descriptor, content[written:])
        except OSError as error:
            self._settle()
            raise self._refused(error) from error
        self._end = (self._end[0] + len(content), self._end[1] + len(lines))
        self._lines = []

    def _durable(self) -> None:
        try:
            if self._group is None:
                self._sync()
            else:
                self._group.wrote(self.last)
        except OSError as error:
            raise self._fail(error) from error

    def _sync(self) -> None:
        to_disk(self._descriptor)
        self._check_place()

    def _check_place(self) -> None:
        """Whether the file is there, and all that was written in it.

        Raises:
            OSError: It is not.
        """
        size = self._end[0]  # read first: records may be written meanwhile, and only add to it
        found = os.fstat(self._descriptor)
        if not found.st_nlink:
            raise _MeddledError(errno.EIO, "was deleted")
        if found.st_size < size:
            raise _MeddledError(errno.EIO, "was cut")
        try:
            there = os.path.samestat(found, self._path.stat())
        except (FileNotFoundError, NotADirectoryError):
            there = False
        if not there:
            raise _MeddledError(errno.ENOENT, "was moved")

    def _fail(self, error: OSError) -> SpoolError:
        """After the disk refused what was written, nothing more is promised."""
        refused = self._refused(error)
        self._broken = str(refused)
        return refused

    def _refused(self, error: OSError) -> SpoolError:
        kept = self.last
        if isinstance(error, _MeddledError):
            lost = "records of it are lost. Leave the folder of a run alone while it goes on; begin"
            way_out = f"{lost} another run."
            if error.errno == errno.ENOENT:
                way_out = f"its {kept} records are where it is now. Put it back, then go on."
            return SpoolError(
                f"{self._path} {error.strerror} by another program while it was written: {way_out}"
            )
        said = f"its {kept} records can be read" if kept else "nothing was written"
        way_out = "Free some space or mend the disk, then go on."
        if error.errno in _OF_THE_PLACE:
            way_out = "Name a folder that can be written."
        elif error.errno in (errno.EMFILE, errno.ENFILE):
            way_out = "Close files, or raise the limit (`ulimit -n`), then go on."
        return SpoolError(
            f"{error.filename or self._path} cannot be written: {error.strerror or error}; {said}."
            f" {way_out}"
        )


class _MeddledError(OSError):
    """The file is not what was written to it."""


_OF_THE_PLACE: Final = frozenset(
    {
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.ENOENT,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.EINVAL,
        errno.ELOOP,
    }
)
"""What an operating system says of a place where no space would help."""


def _check_regular(descriptor: int) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")


def _opened(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)
    return os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)
