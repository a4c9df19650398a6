"""The handwritten digits that scikit-learn brings along: the data set that is always there."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from structure_net.data.datasets import RawDataset, TensorSplit
from structure_net.data.files import md5_of
from structure_net.data.requests import DatasetRequest


def load(_: DatasetRequest) -> RawDataset:
    """1,797 images of 8 x 8 grey values between 0 and 16, ten classes, without a test set.

    References:
        Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning
        Repository, 1998 (CC BY 4.0).
    """
    table = _table()
    images = np.ascontiguousarray(table[:, :64].reshape(-1, 1, 8, 8), dtype=np.float32)
    labels = np.ascontiguousarray(table[:, 64], dtype=np.int64)
    return RawDataset(
        train=TensorSplit(torch.from_numpy(images), torch.from_numpy(labels)),
        test=None,
        task="classification",
        classes=tuple(str(digit) for digit in range(10)),
        checksum=md5_of([images.tobytes(), labels.tobytes()]),
        scaling="channel",
    )


def _table() -> NDArray[np.float64]:
    """64 pixels and the label of each sample: shape ``(1797, 65)``.

    Read from the file where it lies, since importing scikit-learn takes seconds.
    """
    package = importlib.util.find_spec("sklearn")
    if package is not None and package.origin is not None:
        path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            return np.loadtxt(
                gzip.decompress(path.read_bytes()).decode().splitlines(), delimiter=","
            )
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.column_stack([bunch.data, bunch.target])
