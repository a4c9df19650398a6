"""Which samples train, validate and test, and what normalises them.

Both follow from the raw data, a seed and a share. Of a mapped set they are kept beside its arrays
in a file of their own: statistics over all samples take a second of a processor, and a worker that
opens the set has better things to do. The file names the content that it was made of, each array
in it has a checksum (a zip file's), and one that does not fit or is damaged is made anew.
"""

from __future__ import annotations

import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from structure_net.data.arrays import alone_in
from structure_net.data.datasets import RawDataset
from structure_net.data.mapping import MappedDataset
from structure_net.data.normalising import Normalisation, Scaling
from structure_net.data.splitting import split_indices
from structure_net.files import replacing

_TEST_SEED = 20260101  # of the test split where the source has none: the same for every run
_TEST_FRACTION = 0.2
_FORM: Final = 1
_TRAINS, _VALIDATES, _TESTS = 0, 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """A raw data set's parts.

    Args:
        train: Which samples of the raw ``train`` are trained on; int64, ascending.
        validation: Which of them validate.
        test: Which test: of the raw ``test``, or of ``train`` where there is none.
        inputs: What normalises inputs, by the statistics of those that are trained on.
        targets: The same for regression targets; of classes, none.
    """

    train: Tensor
    validation: Tensor
    test: Tensor
    inputs: Normalisation
    targets: Normalisation


def partition(raw: RawDataset, seed: int, fraction: float) -> Partition:
    """The parts of ``raw``: a fifth tests where the source holds out nothing, classes keep shares.

    Args:
        raw: The data set.
        seed: The seed of the validation split.
        fraction: The share of the samples beside the test split that validate, in [0, 1).

    Raises:
        ValueError: ``fraction`` is outside [0, 1), or ``seed`` is negative.
    """
    stratify = raw.task == "classification"
    pool, test = torch.arange(len(raw.train)), torch.arange(len(raw.test or ()))
    if raw.test is None:
        targets = raw.train.targets
        pool, test = split_indices(targets, _TEST_FRACTION, _TEST_SEED, stratify=stratify)
    labels = raw.train.targets.index_select(0, pool)
    stay, held = split_indices(labels, fraction, seed, stratify=stratify)
    train = pool[stay]
    by_target: Scaling = "none" if stratify else "feature"
    if not len(train):
        nothing = Normalisation.fit(raw.train.inputs, "none")
        return Partition(train, pool[held], test, nothing, nothing)
    return Partition(
        train,
        pool[held],
        test,
        Normalisation.fit(raw.train.inputs, raw.scaling, rows=train),
        Normalisation.fit(raw.train.targets, by_target, rows=train),
    )


def kept_partition(mapped: MappedDataset, seed: int, fraction: float) -> Partition:
    """`partition` of a mapped set: read from beside its arrays, or made and kept there.

    Where the folder cannot be written, it is made each time.

    Raises:
        ValueError: ``fraction`` is outside [0, 1), or ``seed`` is negative.
    """
    path = mapped.folder / f"split.v{_FORM}-{seed}-{fraction!r}.npz"
    found = _read(path, mapped)
    if found is not None:
        return found
    made: list[Partition] = []
    with suppress(OSError), alone_in(mapped.folder):
        found = _read(path, mapped)  # another process may have been faster
        if found is not None:
            return found
        made.append(partition(mapped.raw, seed, fraction))
        _write(path, mapped, made[0])
    return made[0] if made else partition(mapped.raw, seed, fraction)


def _write(path: Path, mapped: MappedDataset, parts: Partition) -> None:
    roles = np.full(len(mapped.raw.train), _TRAINS, np.uint8)
    roles[parts.validation.numpy()] = _VALIDATES
    if mapped.raw.test is None:
        roles[parts.test.numpy()] = _TESTS
    with replacing(path) as draft:
        np.savez(
            draft,
            identity=np.frombuffer(bytes.fromhex(mapped.identity), np.uint8),
            roles=roles,
            mean=parts.inputs.mean.numpy(),
            deviation=parts.inputs.deviation.numpy(),
            target_mean=parts.targets.mean.numpy(),
            target_deviation=parts.targets.deviation.numpy(),
        )


def _read(path: Path, mapped: MappedDataset) -> Partition | None:
    """What the file says; None where it is missing, damaged or of other samples."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            held = {name: torch.from_numpy(archive[name]) for name in archive.files}
        if held["identity"].numpy().tobytes().hex() != mapped.identity:
            return None
        roles, tested = held["roles"], mapped.raw.test
        return Partition(
            train=_rows(roles, _TRAINS),
            validation=_rows(roles, _VALIDATES),
            test=_rows(roles, _TESTS) if tested is None else torch.arange(len(tested)),
            inputs=Normalisation(held["mean"], held["deviation"]),
            targets=Normalisation(held["target_mean"], held["target_deviation"]),
        )
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return None


def _rows(roles: Tensor, role: int) -> Tensor:
    return torch.from_numpy(np.flatnonzero(roles.numpy() == role))
