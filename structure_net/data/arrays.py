"""A folder of ``.npy`` arrays and what is noted of them, checked when it is opened, then mapped.

``facts.json`` is written last: the notes, for each array its SHA-256, size and time of change, and
its own SHA-256. An array whose size and time are as they were written is taken as it is; another
must have its SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from structure_net.files import replacing, write_text

FACTS: Final = "facts.json"
"""The file that says what the folder holds."""

_BLOCK: Final = 1 << 22


class DamagedArraysError(Exception):
    """A folder of arrays does not hold what was written."""


@dataclass(frozen=True, slots=True, eq=False)
class ArrayFolder:
    """What a folder holds.

    Args:
        arrays: By name, mapped: what is written to one stays in the process.
        notes: What was noted of them.
        identity: Other arrays have another one; 64 hexadecimal digits.
    """

    arrays: Mapping[str, Tensor]
    notes: Mapping[str, Any]
    identity: str


def read_arrays(folder: Path) -> ArrayFolder | None:
    """What ``folder`` holds; None where nothing was written, or not to the end.

    Raises:
        DamagedArraysError: It does not hold what was written; the message says what is wrong.
    """
    try:
        facts = _facts_of((folder / FACTS).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    for name, noted in facts["arrays"].items():
        _check(folder / f"{name}.npy", noted)
    arrays = {name: _map(folder / f"{name}.npy") for name in facts["arrays"]}
    identity = _sum({name: noted["sha256"] for name, noted in facts["arrays"].items()})
    return ArrayFolder(arrays, facts["notes"], identity)


def write_arrays(folder: Path, arrays: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
    """Writes arrays and notes into ``folder``; it holds them once this has returned.

    Raises:
        OSError: The folder cannot be written.
    """
    noted: dict[str, dict[str, Any]] = {}
    for name, tensor in arrays.items():
        path = folder / f"{name}.npy"
        with replacing(path) as draft:
            np.save(draft, tensor.contiguous().numpy(), allow_pickle=False)
            checksum = _sha256(draft)
        noted[name] = {"sha256": checksum, **stamp(path)}
    facts = {"notes": dict(notes), "arrays": noted}
    write_text(folder / FACTS, json.dumps({**facts, "sha256": _sum(facts)}, indent=1) + "\n")


def stamp(path: Path) -> dict[str, int]:
    """A file's size in bytes, and when it was changed, in nanoseconds."""
    found = path.stat()
    return {"size": found.st_size, "changed": found.st_mtime_ns}


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Waits until no other process writes the folder, and keeps others out.

    Raises:
        OSError: The folder cannot be written.
    """
    try:
        import fcntl
    except ImportError:  # Windows: two that write at once are told apart by `replacing` alone
        yield
        return
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _facts_of(content: bytes) -> dict[str, Any]:
    try:
        facts = json.loads(content)
        sealed = facts.pop("sha256")
    except (ValueError, AttributeError, KeyError, TypeError):
        facts, sealed = {}, ""
    if not facts or sealed != _sum(facts):
        raise DamagedArraysError(f"{FACTS} is not what was written")
    assert isinstance(facts, dict)
    return facts


def _sum(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _check(path: Path, noted: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise DamagedArraysError(f"{path.name} is gone")
    same = stamp(path) == {key: noted[key] for key in ("size", "changed")}
    if not same and _sha256(path) != noted["sha256"]:
        raise DamagedArraysError(f"{path.name} has another SHA-256 than was written")


def _map(path: Path) -> Tensor:
    # Copy on write: torch wants memory that may be written; what is written stays in the process.
    array = np.load(path, mmap_mode="c", allow_pickle=False)
    return torch.from_numpy(np.asarray(array))


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
