"""MNIST and Fashion-MNIST: images and labels in idx files, as they were published."""

from __future__ import annotations

import gzip
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from structure_net.data.datasets import RawDataset, TensorSplit
from structure_net.data.files import (
    RemoteFile,
    download,
    locate,
    md5_of,
    missing,
    read_verified,
)
from structure_net.data.requests import DatasetRequest
from structure_net.errors import DatasetError

_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
# The md5 of each file as published, and of what it holds.
_MNIST_MD5 = (
    ("f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
    ("d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
    ("9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
    ("ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
)
_FASHION_MD5 = (
    ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
    ("25c81989df183df01b3e8a0aad5dffbe", "9018921c3c673c538a1fc5bad174d6f9"),
    ("bef4ecab320f06d8554ea6380940ec79", "8181f5470baa50b63fa0f6fddb340f0a"),
    ("bb300cfdad3c16e7a12a480ee83cd310", "15d484375f8d13e6eb1aabb0c3f46965"),
)
_GARMENTS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def load_mnist(request: DatasetRequest) -> RawDataset:
    """70,000 handwritten digits, 28 x 28 grey values; 10,000 are the test set.

    References:
        LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document
        recognition", Proceedings of the IEEE 86(11), 1998.
    """
    classes = tuple(str(digit) for digit in range(10))
    return _load(request, _published(_MNIST, _MNIST_MD5), "MNIST", classes)


def load_fashion_mnist(request: DatasetRequest) -> RawDataset:
    """70,000 pictures of garments, 28 x 28 grey values; 10,000 are the test set.

    References:
        Xiao, Rasul and Vollgraf, "Fashion-MNIST", arXiv 1708.07747, 2017 (MIT licence).
    """
    return _load(request, _published(_FASHION, _FASHION_MD5), "FashionMNIST", _GARMENTS)


def parse_idx(content: bytes, source: str) -> Tensor:
    """The array of an idx file of unsigned bytes.

    Args:
        content: Two zero bytes, the type (8), the number of axes, each axis as a big-endian 32-bit
            number, then the values.
        source: Where it comes from, for the message.

    Returns:
        The file's shape, uint8.

    Raises:
        DatasetError: The content is none of this.
    """
    head = content[:4]
    axes = head[3] if len(head) == 4 else 0
    start = 4 + 4 * axes
    if head[:3] != b"\x00\x00\x08" or axes == 0 or len(content) < start:
        raise DatasetError(f"{source} is no idx file of bytes: it starts with {head.hex()!r}.")
    shape = struct.unpack(f">{axes}I", content[4:start])
    if len(content) - start != math.prod(shape):
        raise DatasetError(
            f"{source} is cut short or overlong: its header announces {math.prod(shape)} values, "
            f"{len(content) - start} follow."
        )
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy())


@dataclass(frozen=True, slots=True)
class _IdxFile:
    """A published file as it is packed, and the same unpacked."""

    packed: RemoteFile
    unpacked: RemoteFile


def _published(address: str, sums: Sequence[tuple[str, str]]) -> list[_IdxFile]:
    return [
        _IdxFile(
            RemoteFile(f"{name}.gz", packed, f"{address}{name}.gz"),
            RemoteFile(name, unpacked, None),
        )
        for name, (packed, unpacked) in zip(_NAMES, sums, strict=True)
    ]


def _load(
    request: DatasetRequest, files: list[_IdxFile], folder: str, classes: tuple[str, ...]
) -> RawDataset:
    folders = [
        request.data_dir / request.name / folder / "raw",
        request.data_dir / folder / "raw",
        request.data_dir / request.name,
        request.data_dir,
    ]
    images, labels, test_images, test_labels = (_read(request, file, folders) for file in files)
    return RawDataset(
        train=_paired(request.name, images, labels),
        test=_paired(request.name, test_images, test_labels),
        task="classification",
        classes=classes,
        checksum=md5_of(file.unpacked.md5.encode() for file in files),
        scaling="channel",
    )


def _read(request: DatasetRequest, file: _IdxFile, folders: list[Path]) -> Tensor:
    path = locate(file.packed.name, folders)
    unpacked = locate(file.unpacked.name, folders)
    if path is None and unpacked is not None:
        return parse_idx(read_verified(unpacked, file.unpacked.md5), str(unpacked))
    if path is None and request.download:
        path = download(file.packed, folders[0])
    if path is None:
        raise missing(request.name, file.packed, folders)
    return parse_idx(gzip.decompress(read_verified(path, file.packed.md5)), str(path))


def _paired(name: str, images: Tensor, labels: Tensor) -> TensorSplit:
    if images.dim() != 3 or labels.dim() != 1 or len(images) != len(labels):
        raise DatasetError(
            f"The files of '{name}' do not belong together: images of shape {tuple(images.shape)}, "
            f"labels of shape {tuple(labels.shape)}."
        )
    return TensorSplit(images.unsqueeze(1), labels)
