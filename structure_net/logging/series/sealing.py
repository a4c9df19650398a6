"""The seal of a closed file of time series: a checksum of its bytes behind its end.

HDF5 reads nothing behind the end of a file, and can wait for ever for what a flipped bit promises.
So a writer goes on only with a file that is, byte for byte, what another one closed.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import BinaryIO, Final

_MARK: Final = b"sealed "
_SIZE: Final = len(_MARK) + 8
_BLOCK: Final = 1 << 20


def seal(path: Path) -> None:
    """Writes the seal behind a closed file.

    Raises:
        OSError: It cannot be written.
    """
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        found = _checksum(file, size)
        file.seek(size)
        file.write(_MARK + found)


def is_sealed(path: Path) -> bool | None:
    """Whether a file is what its seal says; None where it has none.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return _matches(file)


def unseal(path: Path) -> bool:
    """Takes the seal off, so that the file can be written to; whether there was one that matched.

    Raises:
        OSError: The file is missing, or cannot be written.
    """
    with path.open("r+b") as file:
        if not _matches(file):
            return False
        file.truncate(file.seek(0, os.SEEK_END) - _SIZE)
        return True


def _matches(file: BinaryIO) -> bool | None:
    size = file.seek(0, os.SEEK_END) - _SIZE
    if size <= 0:
        return None
    file.seek(size)
    written = file.read(_SIZE)
    if not written.startswith(_MARK):
        return None
    return written == _MARK + _checksum(file, size)


def _checksum(file: BinaryIO, size: int) -> bytes:
    """The CRC-32 of the first ``size`` bytes, as eight hexadecimal digits."""
    file.seek(0)
    found, left = 0, size
    while left and (block := file.read(min(_BLOCK, left))):
        found = zlib.crc32(block, found)
        left -= len(block)
    return b"%08x" % found
