"""Raw data sets in the cache folder, as ``.npy`` files that processes map and share.

A data set has a folder of its own, an `ArrayFolder`: one file for each array. One process writes
while others wait. What is damaged is made anew from the source, and a `DatasetCacheWarning` says
so; where a file of the source is another than it was, it is made anew too. A source that is gone
is no longer needed.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import Tensor

from structure_net.data.arrays import (
    ArrayFolder,
    DamagedArraysError,
    alone_in,
    read_arrays,
    stamp,
    write_arrays,
)
from structure_net.data.datasets import RawDataset, TensorSplit
from structure_net.data.files import noting_files
from structure_net.errors import DatasetError
from structure_net.files import cache_folder

LARGE: Final = 16 << 20
"""Bytes of a raw data set from which it is mapped without being asked."""

_FORM: Final = 3


class DatasetCacheWarning(UserWarning):
    """A data set in the cache was damaged and has been made anew, or could not be kept there."""


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


@dataclass(frozen=True, slots=True, eq=False)
class MappedDataset:
    """A raw data set on the disk.

    Args:
        raw: Its arrays, mapped.
        folder: Where they lie.
        identity: Another content has another one.
    """

    raw: RawDataset
    folder: Path
    identity: str


def mapped_if_there(origin: Origin) -> MappedDataset | None:
    """The mapped data set, if the cache holds it whole; None if not."""
    try:
        found = read_arrays(origin.folder)
    except (DamagedArraysError, OSError):
        return None
    return None if found is None or _outdated(found) else _opened(origin.folder, found)


def map_dataset(
    origin: Origin, load: Callable[[], RawDataset], *, files: Sequence[Path] = ()
) -> MappedDataset:
    """The data set, mapped; it is loaded and written first where the cache does not hold it.

    Args:
        origin: What it is made from.
        load: Reads it from its source, whole into memory, once for all processes.
        files: What was read of it before.

    Raises:
        DatasetError: The source cannot be read, or the cache cannot be written.
    """
    if (there := mapped_if_there(origin)) is not None:
        return there
    folder = origin.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone_in(folder):
            found = _whole(folder)
            if found is None:
                with noting_files() as more:
                    raw = load()
                notes = {**_notes(raw), "files": _stamps([*files, *more])}
                write_arrays(folder, arrays_of(raw), notes)
                found = read_arrays(folder)
    except OSError as error:
        raise DatasetError(
            f"The data set {origin.name!r} cannot be mapped: {folder} cannot be written:"
            f" {error.strerror or error}. Name another folder by STRUCTURE_NET_CACHE, or load it"
            " with mapped=False."
        ) from error
    assert found is not None
    return _opened(folder, found)


def size_of(raw: RawDataset) -> int:
    """The bytes of all arrays."""
    return sum(tensor.nbytes for tensor in arrays_of(raw).values())


def arrays_of(raw: RawDataset) -> dict[str, Tensor]:
    """Inputs and targets of the splits that there are, by name."""
    splits = {"train": raw.train} | ({} if raw.test is None else {"test": raw.test})
    return {
        f"{name}_{part}": getattr(split, part)
        for name, split in splits.items()
        for part in ("inputs", "targets")
    }


def _whole(folder: Path) -> ArrayFolder | None:
    """What the folder holds, if it is whole and of today's source; damage is told."""
    try:
        found = read_arrays(folder)
        return None if found is None or _outdated(found) else found
    except DamagedArraysError as error:
        said = f"The data set in {folder} was damaged ({error}); it is made anew from its source."
        warnings.warn(said, DatasetCacheWarning, stacklevel=6)
        return None


def _stamps(files: Sequence[Path]) -> dict[str, dict[str, int]]:
    return {str(path.resolve()): stamp(path) for path in files if path.is_file()}


def _outdated(found: ArrayFolder) -> bool:
    files = {Path(name): noted for name, noted in found.notes["files"].items()}
    return any(path.is_file() and stamp(path) != noted for path, noted in files.items())


def _notes(raw: RawDataset) -> Mapping[str, object]:
    return {
        "task": raw.task,
        "classes": list(raw.classes),
        "checksum": raw.checksum,
        "scaling": raw.scaling,
    }


def _opened(folder: Path, found: ArrayFolder) -> MappedDataset:
    def split(name: str) -> TensorSplit:
        return TensorSplit(*(found.arrays[f"{name}_{part}"] for part in ("inputs", "targets")))

    notes = found.notes
    raw = RawDataset(
        train=split("train"),
        test=split("test") if "test_inputs" in found.arrays else None,
        task=notes["task"],
        classes=tuple(notes["classes"]),
        checksum=notes["checksum"],
        scaling=notes["scaling"],
    )
    return MappedDataset(raw, folder, found.identity)
