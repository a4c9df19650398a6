"""Where the files of data sets lie, whether they are whole, and how they are downloaded."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError

from structure_net.errors import DatasetError
from structure_net.files import cache_folder, replacing

_BLOCK = 1 << 20
_TIMEOUT_SECONDS = 30


def default_data_dir() -> Path:
    """The folder that is read where none is named: STRUCTURE_NET_DATA, or the user's cache."""
    named = os.environ.get("STRUCTURE_NET_DATA")
    return Path(named).expanduser() if named else cache_folder() / "data"


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A published file.

    Args:
        name: The file's name.
        md5: What its bytes sum up to, as published.
        address: Where it is downloaded from; None where it is published nowhere in this form.
    """

    name: str
    md5: str
    address: str | None


_READ: ContextVar[list[Path] | None] = ContextVar("files that are read", default=None)


@contextmanager
def noting_files() -> Iterator[list[Path]]:
    """Yields a list to which each file is added that is read within."""
    found: list[Path] = []
    token = _READ.set(found)
    try:
        yield found
    finally:
        _READ.reset(token)


def md5_of(blocks: Iterable[bytes | memoryview]) -> str:
    """The md5 of bytes, as 32 hexadecimal digits: it finds damage, it is no proof of origin."""
    digest = hashlib.md5(usedforsecurity=False)
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def read_verified(path: Path, md5: str) -> bytes:
    """The bytes of ``path``.

    Raises:
        DatasetError: They cannot be read, or do not sum up to ``md5``.
    """
    content = read_bytes(path)
    found = md5_of([content])
    if found != md5:
        raise DatasetError(
            f"{path} is damaged: its md5 is {found}, the published file's is {md5}. "
            "Delete it and put a whole copy there, or download it with --download (download=True)."
        )
    return content


def read_bytes(path: Path) -> bytes:
    """The bytes of ``path``.

    Raises:
        DatasetError: The system refuses them.
    """
    if (noted := _READ.get()) is not None:
        noted.append(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}.") from error


def locate(name: str, folders: Sequence[Path]) -> Path | None:
    """The first of ``folders`` that holds a file ``name``; None if none does."""
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def missing(
    dataset: str, file: RemoteFile, folders: Sequence[Path], *, instead: str = ""
) -> DatasetError:
    """The error that says which file is missing, where it was looked for and what to do.

    ``instead``: what would do as well.
    """
    looked = ", ".join(str(folder) for folder in folders)
    fetch = ", or download it with --download (download=True)" if file.address else ""
    return DatasetError(
        f"The data set '{dataset}' needs {file.name} (md5 {file.md5}){instead}, which is in none "
        f"of: {looked}. Name the folder that holds it with --data-dir or STRUCTURE_NET_DATA{fetch}."
    )


def download(file: RemoteFile, folder: Path) -> Path:
    """Brings ``file`` into ``folder``, whole or not at all.

    Raises:
        DatasetError: The address does not answer, what it sends is not the published file, or the
            folder cannot be written.
    """
    if file.address is None:
        raise DatasetError(f"{file.name} has no public address; put it into {folder} by hand.")
    target = folder / file.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(f"{folder} cannot be written: {error.strerror or error}.") from error
    if not os.access(folder, os.W_OK):
        raise DatasetError(f"{folder} cannot be written: permission denied.")
    try:
        with replacing(target) as part:
            with part.open("wb") as stream:
                found = _save(file.address, stream)
            if found != file.md5:
                raise DatasetError(
                    f"{file.address} sent another file: its md5 is {found}, expected {file.md5}. "
                    "Nothing was kept; try again later."
                )
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()
        reason = getattr(error, "reason", None) or error
        raise DatasetError(
            f"{file.name} cannot be downloaded from {file.address}: {reason}. "
            f"Bring it into {folder} by another way (md5 {file.md5})."
        ) from error
    return target


def _save(address: str, stream: BinaryIO) -> str:
    """Writes what ``address`` sends to ``stream``; returns its md5."""
    digest = hashlib.md5(usedforsecurity=False)
    with urllib.request.urlopen(address, timeout=_TIMEOUT_SECONDS) as answer:
        while block := answer.read(_BLOCK):
            digest.update(block)
            stream.write(block)
    return digest.hexdigest()
