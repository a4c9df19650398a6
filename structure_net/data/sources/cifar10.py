"""CIFAR-10 in its two published layouts: binary batches, and pickled ones for Python."""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from structure_net.data.datasets import RawDataset, TensorSplit
from structure_net.data.files import (
    RemoteFile,
    download,
    locate,
    md5_of,
    missing,
    read_bytes,
    read_verified,
)
from structure_net.data.requests import DatasetRequest
from structure_net.errors import DatasetError

_ARCHIVE = RemoteFile(
    "cifar-10-binary.tar.gz",
    "c32a1d4ab5d03f1284b67883e8d87530",
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
)
_BINARY, _PICKLED = "cifar-10-batches-bin", "cifar-10-batches-py"
_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
_TEST = ("test_batch",)
_IMAGES = 10_000  # per batch
_PIXELS = 3 * 32 * 32
_PICKLED_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
# What a pickled array of unsigned bytes names; anything else is refused before it is looked up.
_PICKLED_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}

Batch = tuple[NDArray[np.uint8], NDArray[np.uint8], str]  # pixels, labels, md5 of the file


def load(request: DatasetRequest) -> RawDataset:
    """60,000 colour images of 3 x 32 x 32 in ten classes; 10,000 are the test set.

    Reads what can be verified where it is there: the packed archive of ``cifar-10-batches-bin``,
    which is not unpacked to the disk, or ``cifar-10-batches-py``, both against their published md5.
    The unpacked ``cifar-10-batches-bin`` comes last. No md5 of its files is published, so that only
    their lengths and labels are checked; the descriptor's checksum tells one copy from another.

    References:
        Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """
    roots = [request.data_dir / request.name, request.data_dir]
    batches = _batches(request, roots)
    return RawDataset(
        train=_joined(batches[:-1]),
        test=_joined(batches[-1:]),
        task="classification",
        classes=_CLASSES,
        checksum=md5_of(md5.encode() for _, _, md5 in batches),
        scaling="channel",
    )


def parse_pickled(content: bytes, source: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The pixels and labels of one batch of ``cifar-10-batches-py``.

    Args:
        content: A pickled dictionary with ``data``, uint8 of shape ``(n, 3072)``, and ``labels``.
        source: Where it comes from, for the message.

    Returns:
        Pixels ``(n, 3072)`` and labels ``(n,)``, both uint8.

    Raises:
        DatasetError: It holds anything but numbers, text and arrays of bytes: nothing else is
            unpickled.
    """
    try:
        batch = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
        pixels = np.asarray(batch[b"data"])
        labels = np.asarray(batch[b"labels"], np.uint8)
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{source} is no batch of CIFAR-10: {error}.") from error
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), _PIXELS):
        raise DatasetError(
            f"{source} is no batch of CIFAR-10: pixels are {pixels.dtype} of shape {pixels.shape}."
        )
    return pixels, labels


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles arrays of numbers and nothing else, so that no code of a file's choice runs."""

    def find_class(self, module_name: str, global_name: str, /) -> object:
        if (module_name, global_name) not in _PICKLED_NAMES:
            raise pickle.UnpicklingError(f"it names {module_name}.{global_name}")
        return super().find_class(module_name, global_name)


def read_members(archive: Path, folder: str, names: Sequence[str]) -> dict[str, bytes]:
    """The files ``folder/name`` of a tar archive, each under its name, read in one pass.

    Raises:
        DatasetError: The archive is damaged, or lacks one of them.
    """
    wanted = {f"{folder}/{name}": name for name in names}
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = wanted.get(member.name)
                content = tar.extractfile(member) if name else None
                if name and content:
                    found[name] = content.read()
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise DatasetError(f"{archive} cannot be unpacked: {error}.") from error
    absent = [name for name in names if name not in found]
    if absent:
        raise DatasetError(f"{archive} lacks {folder}/{absent[0]}.")
    return found


def _batches(request: DatasetRequest, roots: list[Path]) -> list[Batch]:
    candidates = [root / layout for layout in (_PICKLED, _BINARY) for root in roots]
    folder = next((folder for folder in candidates if folder.is_dir()), None)
    archive = locate(_ARCHIVE.name, roots)
    if archive is None and folder is not None:
        read = _read_binary if folder.name == _BINARY else _read_pickled
        return [read(folder, name) for name in _TRAIN + _TEST]
    if archive is None and request.download:
        archive = download(_ARCHIVE, roots[0])
    if archive is None:
        raise missing(request.name, _ARCHIVE, roots, instead=f" or its folder {_BINARY}")
    read_verified(archive, _ARCHIVE.md5)
    files = [f"{name}.bin" for name in _TRAIN + _TEST]
    contents = read_members(archive, _BINARY, files)
    return [_parse_binary(contents[file], f"{archive}:{file}") for file in files]


def _read_binary(folder: Path, name: str) -> Batch:
    path = folder / f"{name}.bin"
    return _parse_binary(read_bytes(path), str(path))


def _parse_binary(content: bytes, source: str) -> Batch:
    if len(content) != _IMAGES * (1 + _PIXELS):
        raise _damaged(
            source,
            f"it has {len(content)} bytes, a batch of CIFAR-10 has {_IMAGES * (1 + _PIXELS)}",
        )
    rows = np.frombuffer(content, np.uint8).reshape(_IMAGES, 1 + _PIXELS)
    if rows[:, 0].max() > 9:
        raise _damaged(source, f"it holds the label {rows[:, 0].max()}, labels are 0 to 9")
    return rows[:, 1:], rows[:, 0], md5_of([content])


def _damaged(source: str, reason: str) -> DatasetError:
    return DatasetError(
        f"{source} is damaged: {reason}. Remove its folder and put {_ARCHIVE.name} "
        f"(md5 {_ARCHIVE.md5}) in its place, or download it with --download (download=True)."
    )


def _read_pickled(folder: Path, name: str) -> Batch:
    path = folder / name
    content = read_verified(path, _PICKLED_MD5[name])
    return (*parse_pickled(content, str(path)), _PICKLED_MD5[name])


def _joined(batches: list[Batch]) -> TensorSplit:
    pixels = np.concatenate([pixels for pixels, _, _ in batches])
    labels = np.concatenate([labels for _, labels, _ in batches])
    images: Tensor = torch.from_numpy(pixels).reshape(-1, 3, 32, 32)
    return TensorSplit(images, torch.from_numpy(labels))
