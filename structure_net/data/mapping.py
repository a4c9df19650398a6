"""Raw data sets in the cache folder, as ``.npy`` files that processes map and share.

A data set has a folder of its own: one file for each array, and ``facts.json``, written last, with
the SHA-256 of each. One process writes while others wait. What is found again is checked: by size
and time of change, and where these are not as they were written, by its SHA-256. What is damaged is
made anew from the source, and a `DatasetCacheWarning` says so.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from structure_net.data.datasets import RawDataset, TensorSplit
from structure_net.errors import DatasetError
from structure_net.files import cache_folder, replacing, write_text

LARGE: Final = 256 << 20
"""Bytes of a raw data set from which it is mapped without being asked."""

_FORM: Final = 1
_BLOCK: Final = 1 << 22


class DatasetCacheWarning(UserWarning):
    """A data set in the cache was damaged and has been made anew."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a raw data set is made from; all of it together names its folder in the cache.

    Args:
        name: The data set's name.
        parts: Whatever another content would differ in: options, version, files.
    """

    name: str
    parts: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where its arrays lie; it need not exist."""
        digest = hashlib.sha256("\0".join((str(_FORM), self.name, *self.parts)).encode())
        return cache_folder() / "mapped" / f"{self.name}-{digest.hexdigest()[:16]}"


def mapped_if_there(origin: Origin) -> RawDataset | None:
    """The mapped data set, if the cache holds it whole; None if not."""
    found = _read_facts(origin.folder)
    if found is None or _damage(origin.folder, found):
        return None
    return _opened(origin.folder, found)


def map_dataset(origin: Origin, load: Callable[[], RawDataset]) -> RawDataset:
    """The data set, mapped; it is loaded and written first where the cache does not hold it.

    Args:
        origin: What it is made from.
        load: Reads it from its source, whole into memory, once for all processes.

    Raises:
        DatasetError: The source cannot be read, or the cache cannot be written.
    """
    folder = origin.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            facts = _whole(folder)
            if facts is None:
                _write(folder, load())
                facts = _read_facts(folder)
    except OSError as error:
        raise DatasetError(
            f"The data set {origin.name!r} cannot be mapped: {folder} cannot be written:"
            f" {error.strerror or error}. Name another folder by STRUCTURE_NET_CACHE, or load it"
            " with mapped=False."
        ) from error
    assert facts is not None
    return _opened(folder, facts)


def size_of(raw: RawDataset) -> int:
    """The bytes of all arrays."""
    return sum(tensor.numel() * tensor.element_size() for tensor in _arrays(raw).values())


def _whole(folder: Path) -> Mapping[str, Any] | None:
    """What the folder holds, if it is whole; damage is told."""
    facts = _read_facts(folder)
    damage = "" if facts is None else _damage(folder, facts)
    if facts is None and (folder / "facts.json").exists():
        damage = "facts.json is not what was written"
    if damage:
        said = f"The data set in {folder} was damaged ({damage}); it is made anew from its source."
        warnings.warn(said, DatasetCacheWarning, stacklevel=5)
        return None
    return facts


def _arrays(raw: RawDataset) -> dict[str, Tensor]:
    splits = {"train": raw.train} | ({} if raw.test is None else {"test": raw.test})
    return {
        f"{name}_{part}": getattr(split, part)
        for name, split in splits.items()
        for part in ("inputs", "targets")
    }


def _write(folder: Path, raw: RawDataset) -> None:
    arrays: dict[str, dict[str, Any]] = {}
    for name, tensor in _arrays(raw).items():
        path = folder / f"{name}.npy"
        with replacing(path) as draft:
            np.save(draft, tensor.contiguous().numpy(), allow_pickle=False)
            checksum = _sha256(draft)
        arrays[name] = {"sha256": checksum, **_stat(path)}
    facts = {
        "form": _FORM,
        "task": raw.task,
        "classes": list(raw.classes),
        "checksum": raw.checksum,
        "scaling": raw.scaling,
        "arrays": arrays,
    }
    write_text(folder / "facts.json", json.dumps(facts, indent=1) + "\n")


def _opened(folder: Path, facts: Mapping[str, Any]) -> RawDataset:
    def split(name: str) -> TensorSplit:
        return TensorSplit(*(_map(folder / f"{name}_{p}.npy") for p in ("inputs", "targets")))

    return RawDataset(
        train=split("train"),
        test=split("test") if "test_inputs" in facts["arrays"] else None,
        task=facts["task"],
        classes=tuple(facts["classes"]),
        checksum=facts["checksum"],
        scaling=facts["scaling"],
    )


def _map(path: Path) -> Tensor:
    # Copy on write: torch wants memory that may be written; what is written stays in the process.
    array = np.load(path, mmap_mode="c", allow_pickle=False)
    return torch.from_numpy(np.asarray(array))


def _read_facts(folder: Path) -> Mapping[str, Any] | None:
    try:
        found = json.loads((folder / "facts.json").read_bytes())
    except (OSError, ValueError):
        return None
    known = {"form", "task", "classes", "checksum", "scaling", "arrays"}
    return found if isinstance(found, dict) and found.keys() == known else None


def _damage(folder: Path, facts: Mapping[str, Any]) -> str:
    """What is wrong with the arrays; empty if nothing is."""
    for name, noted in facts["arrays"].items():
        path = folder / f"{name}.npy"
        if not path.is_file():
            return f"{path.name} is gone"
        same = _stat(path) == {key: noted[key] for key in ("size", "changed")}
        if not same and _sha256(path) != noted["sha256"]:
            return f"{path.name} has another SHA-256 than was written"
    return ""


def _stat(path: Path) -> dict[str, int]:
    found = path.stat()
    return {"size": found.st_size, "changed": found.st_mtime_ns}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Waits until no other process writes the folder, and keeps others out."""
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
