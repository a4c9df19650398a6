"""MNIST-1D: digits as short noisy sequences."""

from __future__ import annotations

from dataclasses import replace

from structure_net.data.datasets import RawDataset
from structure_net.data.files import RemoteFile, locate, missing, read_verified
from structure_net.data.requests import DatasetRequest
from structure_net.data.sources import npz

_FILE = RemoteFile("mnist1d_data.npz", "a135715dd41ac40435e3ca9a18571ec1", None)


def load(request: DatasetRequest) -> RawDataset:
    """5,000 sequences of 40 values, ten classes; 1,000 are the test set.

    References:
        Greydanus and Kobak, "Scaling down deep learning with MNIST-1D", ICML 2024 (Apache-2.0).
    """
    folders = [request.data_dir / request.name, request.data_dir]
    path = locate(_FILE.name, folders)
    if path is None:
        raise missing(request.name, _FILE, folders)
    read_verified(path, _FILE.md5)
    return replace(npz.load(path, path.parent), checksum=_FILE.md5, scaling="whole")
