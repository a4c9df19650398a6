"""California housing: the median house value of 20,640 blocks, from the census of 1990."""

from __future__ import annotations

import csv
import io

import numpy as np
import torch

from structure_net.data.datasets import RawDataset, TensorSplit
from structure_net.data.files import RemoteFile, locate, missing, read_verified
from structure_net.data.requests import DatasetRequest

_FILE = RemoteFile("housing.csv", "d1c47305887e2252bf1ccbd74ff159a6", None)
_NUMBERS = (
    "longitude",
    "latitude",
    "housing_median_age",
    "total_rooms",
    "total_bedrooms",
    "population",
    "households",
    "median_income",
)
_PROXIMITY = ("<1H OCEAN", "INLAND", "ISLAND", "NEAR BAY", "NEAR OCEAN")


def load(request: DatasetRequest) -> RawDataset:
    """Eight numbers and five indicators of a block; the target is its median house value.

    The 207 blocks without ``total_bedrooms`` get the mean of the others, as one more indicator
    says, so that the inputs have 14 features.

    References:
        Pace and Barry, "Sparse spatial autoregressions", Statistics and Probability Letters 33,
        1997.
    """
    folders = [request.data_dir / request.name, request.data_dir]
    path = locate(_FILE.name, folders)
    if path is None:
        raise missing(request.name, _FILE, folders)
    rows = list(csv.DictReader(io.StringIO(read_verified(path, _FILE.md5).decode())))
    numbers = np.array([[float(row[name] or "nan") for name in _NUMBERS] for row in rows])
    absent = np.isnan(numbers)
    filled = np.where(absent, np.nanmean(numbers, 0), numbers)
    near = [[float(row["ocean_proximity"] == name) for name in _PROXIMITY] for row in rows]
    inputs = np.concatenate([filled, np.array(near), absent.any(1, keepdims=True)], 1)
    values = np.array([[float(row["median_house_value"])] for row in rows])
    return RawDataset(
        train=TensorSplit(
            torch.from_numpy(inputs.astype(np.float32)), torch.from_numpy(values.astype(np.float32))
        ),
        test=None,
        task="regression",
        classes=(),
        checksum=_FILE.md5,
    )
