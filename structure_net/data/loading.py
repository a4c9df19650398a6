"""From a name to a data set that is split and normalised."""

from __future__ import annotations

from pathlib import Path

import torch

from structure_net.data import registry
from structure_net.data.datasets import Dataset, DatasetDescriptor, RawDataset, TensorSplit
from structure_net.data.files import default_data_dir
from structure_net.data.normalising import Normalisation
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
) -> Dataset:
    """The data set ``name``, split and normalised, in memory.

    The inputs have zero mean and unit deviation over the training split. Where the source holds out
    no test set, a fifth is held out, the same whatever ``seed`` is, so that no run has ever trained
    on what another is tested on; classes keep their shares in every split.

    Args:
        name: A registered name, with options after a colon (``"parity:bits=6"``), or the path of an
            ``.npz`` file.
        data_dir: The folder that holds the files; STRUCTURE_NET_DATA or the user's cache if None.
        seed: The seed of the validation split.
        validation_fraction: The share of the training samples that validate, in [0, 1).
        download: Whether missing files are downloaded into the folder.

    Returns:
        The data set. The same arguments and files give the same tensors.

    Raises:
        DatasetError: The name is unknown, or a file is missing, damaged or of another form.
        ValueError: ``validation_fraction`` is outside [0, 1), or ``seed`` is negative.
    """
    folder = Path(data_dir).expanduser() if data_dir is not None else default_data_dir()
    if name.lower().endswith(".npz"):
        raw = npz.load(Path(name).expanduser(), folder)
    else:
        plain, _, text = name.partition(":")
        found = registry.find(plain)
        options = registry.parse_options(found, text)
        raw = found.loader(DatasetRequest(plain, folder, download, options))
    return _prepared(name, raw, seed, validation_fraction)


def _prepared(name: str, raw: RawDataset, seed: int, fraction: float) -> Dataset:
    stratify = raw.task == "classification"
    pool, test = raw.train, raw.test
    if test is None:
        stay, held = split_indices(pool.targets, _TEST_FRACTION, _TEST_SEED, stratify=stratify)
        pool, test = pool.select(stay), pool.select(held)
    stay, held = split_indices(pool.targets, fraction, seed, stratify=stratify)
    if not len(stay) or not len(test):
        raise DatasetError(
            f"The data set {name!r} has {len(raw.train)} samples: too few for a training split, a "
            "validation split and a test split."
        )
    train, validation = pool.select(stay), pool.select(held)
    inputs = Normalisation.fit(train.inputs, raw.scaling)
    targets = Normalisation.fit(train.targets, "none" if stratify else "feature")

    def normalised(split: TensorSplit) -> TensorSplit:
        wanted = split.targets.to(torch.int64) if stratify else targets(split.targets)
        return TensorSplit(inputs(split.inputs), wanted)

    descriptor = DatasetDescriptor(
        name=name,
        checksum=raw.checksum,
        split_seed=seed,
        validation_fraction=fraction,
        sizes={"train": len(train), "validation": len(validation), "test": len(test)},
        input_shape=tuple(train.inputs.shape[1:]),
        task=raw.task,
        outputs=len(raw.classes) if stratify else int(raw.train.targets.shape[1]),
        scaling=raw.scaling,
        mean=tuple(inputs.mean.flatten().tolist()),
        deviation=tuple(inputs.deviation.flatten().tolist()),
        target_mean=() if stratify else tuple(targets.mean.flatten().tolist()),
        target_deviation=() if stratify else tuple(targets.deviation.flatten().tolist()),
    )
    return Dataset(
        name=name,
        train=normalised(train),
        validation=normalised(validation),
        test=normalised(test),
        task=raw.task,
        classes=raw.classes,
        descriptor=descriptor,
    )
