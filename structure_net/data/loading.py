"""From a name to a data set that is split and normalised."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from structure_net.data import registry
from structure_net.data.datasets import Dataset, DatasetDescriptor, RawDataset, Split, TensorSplit
from structure_net.data.files import default_data_dir, noting_files
from structure_net.data.mapped import MappedSplit
from structure_net.data.mapping import (
    LARGE,
    DatasetCacheWarning,
    MappedDataset,
    Origin,
    map_dataset,
    mapped_if_there,
    size_of,
)
from structure_net.data.partitions import Partition, kept_partition, partition
from structure_net.data.requests import DatasetRequest
from structure_net.data.sources import npz
from structure_net.errors import DatasetError


def load_dataset(
    name: str,
    *,
    data_dir: str | Path | None = None,
    seed: int = 0,
    validation_fraction: float = 0.1,
    download: bool = False,
    mapped: bool | None = None,
) -> Dataset:
    """The data set ``name``, split and normalised.

    The inputs have zero mean and unit deviation over the training split. Where the source holds out
    no test set, a fifth is held out, the same whatever ``seed`` is, so that no run has ever trained
    on what another is tested on; classes keep their shares in every split.

    A mapped set stays on the disk, in the cache folder, as the source's own values, and is
    normalised batch by batch: it gives the same batches, bit for bit, processes share its pages,
    and nothing but ``.inputs`` and ``.targets`` copies it as a whole. The first process that asks
    loads it and writes it; the others open it in a few milliseconds.

    Args:
        name: A registered name, with options after a colon (``"parity:bits=6"``), or the path of an
            ``.npz`` file.
        data_dir: The folder that holds the files; STRUCTURE_NET_DATA or the user's cache if None.
        seed: The seed of the validation split.
        validation_fraction: The share of the training samples that validate, in [0, 1).
        download: Whether missing files are downloaded into the folder.
        mapped: Whether it stays on the disk; None: if its arrays have 16 MiB or more, as those of
            MNIST and CIFAR-10, and the cache folder can be written.

    Returns:
        The data set. The same arguments and files give the same tensors.

    Raises:
        DatasetError: The name is unknown, a file is missing, damaged or of another form, or the
            cache folder cannot be written and ``mapped`` is True.
        ValueError: ``validation_fraction`` is outside [0, 1), or ``seed`` is negative.
    """
    folder = Path(data_dir).expanduser() if data_dir is not None else default_data_dir()
    source = _source(name, folder, download=download)
    wish = _Wish(seed, validation_fraction, source.version)
    return _prepared(name, _parts(source, wish, mapped), wish)


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a raw data set comes from."""

    origin: Origin
    load: Callable[[], RawDataset]
    version: str


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is to be made of a raw data set."""

    seed: int
    fraction: float
    version: str


def _source(name: str, folder: Path, *, download: bool) -> _Source:
    if name.lower().endswith(".npz"):
        path = Path(name).expanduser()
        return _Source(_origin_of_file(path, folder), partial(npz.load, path, folder), "1")
    plain, _, text = name.partition(":")
    found = registry.find(plain)
    options = registry.parse_options(found, text)
    load = partial(found.loader, DatasetRequest(plain, folder, download, options))
    set_to = (f"{key}={value}" for key, value in sorted(options.items()))
    parts = (found.version, *registry.made_by(found), str(folder.resolve()), *set_to)
    return _Source(Origin(plain, parts), load, found.version)


def _origin_of_file(path: Path, folder: Path) -> Origin:
    found = path if path.is_file() else folder / path
    if not found.is_file():
        return Origin(path.stem, (str(found),))
    stat = found.stat()
    return Origin(path.stem, (str(found.resolve()), str(stat.st_size), str(stat.st_mtime_ns)))


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """A raw data set and its parts."""

    raw: RawDataset
    parts: Partition
    mapped: bool


def _parts(source: _Source, wish: _Wish, mapped: bool | None) -> _Parts:
    """The raw data set, mapped or in memory, and its parts."""
    there = _mapped(source, mapped)
    if isinstance(there, RawDataset):
        return _Parts(there, partition(there, wish.seed, wish.fraction), mapped=False)
    return _Parts(there.raw, kept_partition(there, wish.seed, wish.fraction), mapped=True)


def _mapped(source: _Source, mapped: bool | None) -> MappedDataset | RawDataset:
    if mapped is False:
        return source.load()
    if mapped is True:
        return map_dataset(source.origin, source.load)
    there = mapped_if_there(source.origin)
    if there is not None and size_of(there.raw) >= LARGE:
        return there
    with noting_files() as files:
        raw = source.load()
    if size_of(raw) < LARGE:
        return raw
    try:
        return map_dataset(source.origin, lambda: raw, files=files)
    except DatasetError as error:
        warnings.warn(f"{error} It is held in memory now.", DatasetCacheWarning, stacklevel=4)
        return raw


def _prepared(name: str, found: _Parts, wish: _Wish) -> Dataset:
    raw, parts = found.raw, found.parts
    if not len(parts.train) or not len(parts.test):
        raise DatasetError(
            f"The data set {name!r} has {len(raw.train)} samples: too few for a training split, a "
            "validation split and a test split."
        )
    return Dataset(
        name=name,
        train=_split(found, raw.train, parts.train),
        validation=_split(found, raw.train, parts.validation),
        test=_split(found, raw.train if raw.test is None else raw.test, parts.test),
        task=raw.task,
        classes=raw.classes,
        descriptor=_described(name, found, wish),
    )


def _split(found: _Parts, source: TensorSplit, rows: Tensor) -> Split:
    classes = found.raw.task == "classification"
    inputs, targets = found.parts.inputs, found.parts.targets
    if found.mapped:
        return MappedSplit(
            source.inputs, source.targets, rows, inputs, None if classes else targets
        )
    chosen = source.select(rows)
    wanted = chosen.targets.to(torch.int64) if classes else targets(chosen.targets)
    return TensorSplit(inputs(chosen.inputs), wanted)


def _described(name: str, found: _Parts, wish: _Wish) -> DatasetDescriptor:
    raw, parts = found.raw, found.parts
    classes = raw.task == "classification"
    rows = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    return DatasetDescriptor(
        name=name,
        checksum=raw.checksum,
        split_seed=wish.seed,
        validation_fraction=wish.fraction,
        sizes={split: len(chosen) for split, chosen in rows.items()},
        input_shape=tuple(raw.train.inputs.shape[1:]),
        task=raw.task,
        outputs=len(raw.classes) if classes else int(raw.train.targets.shape[1]),
        scaling=raw.scaling,
        mean=tuple(parts.inputs.mean.flatten().tolist()),
        deviation=tuple(parts.inputs.deviation.flatten().tolist()),
        target_mean=() if classes else tuple(parts.targets.mean.flatten().tolist()),
        target_deviation=() if classes else tuple(parts.targets.deviation.flatten().tolist()),
        version=wish.version,
        transforms=_transforms(raw),
    )


def _transforms(raw: RawDataset) -> tuple[str, ...]:
    """What was done to the source's values, in order, in words."""
    over = {
        "channel": "each channel",
        "feature": "each feature",
        "whole": "all values",
    }
    found = []
    if raw.test is None:
        found.append("a fifth held out for the test")
    if raw.scaling != "none":
        found.append(f"inputs to zero mean and unit deviation over {over[raw.scaling]}")
    if raw.task == "regression":
        found.append("targets to zero mean and unit deviation over each target")
    return tuple(found)
