"""From a name to a data set that is split and normalised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from structure_net.data import registry
from structure_net.data.datasets import Dataset, DatasetDescriptor, RawDataset, Split, TensorSplit
from structure_net.data.files import default_data_dir
from structure_net.data.mapped import MappedSplit
from structure_net.data.mapping import LARGE, Origin, map_dataset, mapped_if_there, size_of
from structure_net.data.normalising import Normalisation, Scaling
from structure_net.data.requests import DatasetRequest
from structure_net.data.sources import npz
from structure_net.data.splitting import split_indices
from structure_net.errors import DatasetError

_TEST_SEED = 20260101  # of the test split where the source has none: the same for every run
_TEST_FRACTION = 0.2


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
    and nothing is copied as a whole. The first process that asks loads it whole and writes it.

    Args:
        name: A registered name, with options after a colon (``"parity:bits=6"``), or the path of an
            ``.npz`` file.
        data_dir: The folder that holds the files; STRUCTURE_NET_DATA or the user's cache if None.
        seed: The seed of the validation split.
        validation_fraction: The share of the training samples that validate, in [0, 1).
        download: Whether missing files are downloaded into the folder.
        mapped: Whether it stays on the disk; None: if its arrays have 256 MiB or more.

    Returns:
        The data set. The same arguments and files give the same tensors.

    Raises:
        DatasetError: The name is unknown, a file is missing, damaged or of another form, or the
            cache folder cannot be written.
        ValueError: ``validation_fraction`` is outside [0, 1), or ``seed`` is negative.
    """
    folder = Path(data_dir).expanduser() if data_dir is not None else default_data_dir()
    source = _source(name, folder, download=download)
    raw, is_mapped = _raw(source, mapped)
    return _prepared(name, raw, _Wish(seed, validation_fraction, is_mapped, source.version))


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
    mapped: bool
    version: str


def _source(name: str, folder: Path, *, download: bool) -> _Source:
    if name.lower().endswith(".npz"):
        path = Path(name).expanduser()
        return _Source(_origin_of_file(path, folder), partial(npz.load, path, folder), "1")
    plain, _, text = name.partition(":")
    found = registry.find(plain)
    options = registry.parse_options(found, text)
    load = partial(found.loader, DatasetRequest(plain, folder, download, options))
    made_by = f"{found.loader.__module__}.{getattr(found.loader, '__qualname__', plain)}"
    set_to = (f"{key}={value}" for key, value in sorted(options.items()))
    parts = (found.version, made_by, str(folder.resolve()), *set_to)
    return _Source(Origin(plain, parts), load, found.version)


def _origin_of_file(path: Path, folder: Path) -> Origin:
    found = path if path.is_file() else folder / path
    if not found.is_file():
        return Origin(path.stem, (str(found),))
    stat = found.stat()
    return Origin(path.stem, (str(found.resolve()), str(stat.st_size), str(stat.st_mtime_ns)))


def _raw(source: _Source, mapped: bool | None) -> tuple[RawDataset, bool]:
    """The raw data set, and whether it is mapped."""
    if mapped is False:
        return source.load(), False
    if mapped is None:
        there = mapped_if_there(source.origin)
        if there is not None and size_of(there) >= LARGE:
            return there, True
        raw = source.load()
        if size_of(raw) < LARGE:
            return raw, False
        return map_dataset(source.origin, lambda: raw), True
    return map_dataset(source.origin, source.load), True


def _prepared(name: str, raw: RawDataset, wish: _Wish) -> Dataset:
    stratify = raw.task == "classification"
    pool = torch.arange(len(raw.train))
    tested, test = raw.test, torch.arange(0 if raw.test is None else len(raw.test))
    if tested is None:
        tested = raw.train
        pool, test = split_indices(tested.targets, _TEST_FRACTION, _TEST_SEED, stratify=stratify)
    labels = raw.train.targets.index_select(0, pool)
    stay, held = split_indices(labels, wish.fraction, wish.seed, stratify=stratify)
    if not len(stay) or not len(test):
        raise DatasetError(
            f"The data set {name!r} has {len(raw.train)} samples: too few for a training split, a "
            "validation split and a test split."
        )
    train, validation = pool[stay], pool[held]
    inputs = Normalisation.fit(raw.train.inputs, raw.scaling, rows=train)
    by_target: Scaling = "none" if stratify else "feature"
    targets = Normalisation.fit(raw.train.targets, by_target, rows=train)

    def split(source: TensorSplit, rows: Tensor) -> Split:
        if wish.mapped:
            scale = None if stratify else targets
            return MappedSplit(source.inputs, source.targets, rows, inputs, scale)
        chosen = source.select(rows)
        wanted = chosen.targets.to(torch.int64) if stratify else targets(chosen.targets)
        return TensorSplit(inputs(chosen.inputs), wanted)

    descriptor = DatasetDescriptor(
        name=name,
        checksum=raw.checksum,
        split_seed=wish.seed,
        validation_fraction=wish.fraction,
        sizes={"train": len(train), "validation": len(validation), "test": len(test)},
        input_shape=tuple(raw.train.inputs.shape[1:]),
        task=raw.task,
        outputs=len(raw.classes) if stratify else int(raw.train.targets.shape[1]),
        scaling=raw.scaling,
        mean=tuple(inputs.mean.flatten().tolist()),
        deviation=tuple(inputs.deviation.flatten().tolist()),
        target_mean=() if stratify else tuple(targets.mean.flatten().tolist()),
        target_deviation=() if stratify else tuple(targets.deviation.flatten().tolist()),
        version=wish.version,
        transforms=_transforms(raw),
    )
    return Dataset(
        name=name,
        train=split(raw.train, train),
        validation=split(raw.train, validation),
        test=split(tested, test),
        task=raw.task,
        classes=raw.classes,
        descriptor=descriptor,
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
