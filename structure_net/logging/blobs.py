"""Files beside a spool, each under the SHA-256 of its bytes: written once, whole or not at all.

``blobs/9f/9f86d0...``: the first two digits are a folder. A blob is on the disk, its name included,
before anything refers to it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from structure_net.errors import SpoolError

_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Blob:
    """A file that is kept.

    Args:
        digest: The SHA-256 of its bytes, in hexadecimal digits.
        size: Bytes.
        path: Where it lies.
    """

    digest: str
    size: int
    path: Path


def blob_path(folder: str | Path, digest: str) -> Path:
    """Where the spool in ``folder`` keeps the bytes with this SHA-256."""
    return Path(folder) / "blobs" / digest[:2] / digest


def put_blob(folder: str | Path, content: bytes | Path, *, link: bool = False) -> Blob:
    """Keeps bytes, or a copy of a file; what is there already is not written again.

    Args:
        folder: The spool's.
        content: Bytes, or the path of a file.
        link: Whether the file may be kept by another name for it, where the system can, which takes
            no room. Right for files that are only ever replaced as a whole.

    Raises:
        SpoolError: The disk is full or the folder cannot be written; nothing is left of it.
        OSError: The file cannot be read.
    """
    digest, size = _measured(content)
    target = blob_path(folder, digest)
    if target.is_file() and target.stat().st_size == size:
        return Blob(digest, size, target)
    try:
        target = _kept(Path(folder), content, link=link)
        for parent in (target.parent, target.parent.parent, target.parent.parent.parent):
            flush_folder(parent)
    except OSError as error:
        way_out = "Free some space, then go on."
        if error.errno in (errno.EMFILE, errno.ENFILE):
            way_out = "Close files, or raise the limit (`ulimit -n`), then go on."
        raise SpoolError(
            f"{target} cannot be written: {error.strerror or error}. What was written before can "
            f"be read. {way_out}"
        ) from error
    return Blob(target.name, target.stat().st_size, target)


def check_blob(folder: str | Path, digest: str) -> Blob:
    """Reads a blob through.

    Raises:
        SpoolError: It is missing, or its bytes are not those that were kept.
    """
    path = blob_path(folder, digest)
    if not path.is_file():
        raise SpoolError(f"{path} is missing.")
    found, size = _measured(path)
    if found != digest:
        raise SpoolError(f"{path} is damaged: the SHA-256 of its {size} bytes is {found}.")
    return Blob(digest, size, path)


def _chunks(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _measured(content: bytes | Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for chunk in _chunks(content):
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


def _kept(folder: Path, content: bytes | Path, *, link: bool) -> Path:
    """Keeps what the file holds by now, under its digest: it may be replaced at any moment."""
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".", dir=folder / "blobs")
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if link and isinstance(content, Path) and _linked(content, draft):
                digest, _ = _measured(draft)
            else:
                digest = _copied(content, file)
                draft.chmod(0o444)
        target = blob_path(folder, digest)
        target.parent.mkdir(exist_ok=True)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)  # also where both are names of one file, which is kept then
    return target


def _copied(content: bytes | Path, file: BinaryIO) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(content):
        digest.update(chunk)
        file.write(chunk)
    file.flush()
    os.fsync(file.fileno())
    return digest.hexdigest()


def _linked(source: Path, draft: Path) -> bool:
    """Whether ``draft`` is another name of the file ``source`` now."""
    other = draft.with_name(f"{draft.name}-link")
    try:
        other.hardlink_to(source)
    except OSError:  # another disk, or a system without links: a copy does as well
        return False
    other.replace(draft)
    return True


def flush_folder(folder: Path) -> None:
    """Brings the names in a folder to the disk, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows cannot open a folder, and flushes it itself
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
