"""Files that are written whole or not at all.

A file is written inside a hidden folder beside its target, flushed to the disk and renamed onto the
target, so that whoever reads the target sees the old file or the new one. A process that is killed
leaves at most the hidden folder, which the next write to the same target clears away.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final


def cache_folder() -> Path:
    """The folder for what can be made or downloaded again; it need not exist.

    ``STRUCTURE_NET_CACHE``, or a folder of the platform's cache of the user.
    """
    return _cache_folder(*map(os.environ.get, _NAMED))


_NAMED: Final = ("STRUCTURE_NET_CACHE", "LOCALAPPDATA", "XDG_CACHE_HOME", "HOME", "USERPROFILE")


@cache
def _cache_folder(
    named: str | None, of_windows: str | None, of_linux: str | None, *homes: str | None
) -> Path:
    """`cache_folder` by what the environment says; edits ask for it. ``homes`` are read by Path."""
    del homes
    if named:
        return Path(named).expanduser()
    if sys.platform == "win32":
        of_user = Path(of_windows) if of_windows else Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        of_user = Path.home() / "Library" / "Caches"
    else:
        of_user = Path(of_linux) if of_linux else Path.home() / ".cache"
    return of_user / "structure-net"


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a path to write to; on a clean exit that file takes the place of ``path`` at once.

    The new file has the permissions that the process's umask gives. A ``path`` that is a symbolic
    link stays one: the file that it points to is replaced. After an exception ``path`` is as it was
    and nothing else is left.

    Args:
        path: The target. Its folder must exist.

    Raises:
        OSError: The folder does not exist or is not writable, the disk is full, another process is
            writing to ``path`` at the same time (``BlockingIOError``), or something is there that
            is no file: a device, say.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "it is no regular file", str(target))
    workplace = target.with_name(f".{target.name}.partial")
    workplace.mkdir(exist_ok=True)
    with _locked(workplace):
        try:
            _clear(workplace)
            draft = workplace / target.name
            yield draft
            _flush(draft)
            draft.chmod(_permissions(draft))
            draft.replace(target)
        finally:
            shutil.rmtree(workplace, ignore_errors=True)
        _flush_folder(target.parent)


def write_text(path: str | Path, text: str) -> None:
    """Writes ``text`` as UTF-8, whole or not at all; see `replacing`. An error names ``path``."""
    try:
        with replacing(path) as draft:
            draft.write_text(text, encoding="utf-8")
    except OSError as error:
        # A full disk is told of by a write, which knows no name.
        error.filename = error.filename or str(path)
        raise


def _clear(folder: Path) -> None:
    for leftover in folder.iterdir():
        leftover.unlink()


def _permissions(draft: Path) -> int:
    """What new files beside a draft may: only who sets the umask is told it, and Ctrl-C may come.

    Other threads would make their files with what is set meanwhile, too.
    """
    new = draft.with_name(f"{draft.name}.new")
    new.touch()
    return stat.S_IMODE(new.stat().st_mode)


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    # A rename is durable only once its folder is; systems that cannot open a folder (Windows) flush
    # it themselves.
    with suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = _lock_function()
    if lock is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock_function() -> Callable[[int], None] | None:
    try:
        import fcntl
    except ImportError:  # Windows has no flock; there, two writers of one file are not told apart
        return None
    return lambda descriptor: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
