"""A user's own data in an ``.npz`` file of arrays."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from structure_net.data.datasets import RawDataset, TensorSplit
from structure_net.data.files import md5_of, read_bytes
from structure_net.data.normalising import Scaling
from structure_net.errors import DatasetError

Arrays = Mapping[str, NDArray[np.generic]]

_TRAIN_NAMES = (("x_train", "y_train"), ("x", "y"), ("X_train", "y_train"), ("X", "y"))
_TEST_NAMES = (("x_test", "y_test"), ("X_test", "y_test"))
_MOST_CLASSES = 10_000


def load(path: Path, data_dir: Path) -> RawDataset:
    """The arrays ``x``, ``y`` (or ``x_train``, ``y_train``), and ``x_test``, ``y_test`` if there.

    Inputs are numbers of any shape ``(n, ...)``: images as ``(n, channels, height, width)``, tables
    as ``(n, features)``. Whole numbers as targets, ``(n,)``, are classes and must be 0, 1, 2, ...;
    floating-point targets, ``(n,)`` or ``(n, k)``, are regressed. Nothing is unpickled.

    Args:
        path: The file; where it is relative and not there, it is looked for in ``data_dir``.
        data_dir: The folder that holds data sets.

    Raises:
        DatasetError: The file is missing or damaged, an array is missing, or its values are none
            that a network can learn from.
    """
    found = path if path.is_file() else data_dir / path
    if not found.is_file():
        raise DatasetError(f"There is no file {path}, neither here nor in {data_dir}.")
    arrays = _arrays(found)
    train_x, train_y = _pair(arrays, _TRAIN_NAMES, found)
    has_test = any(key in arrays for names in _TEST_NAMES for key in names)
    checksum = md5_of([read_bytes(found)])
    if not has_test:
        return _dataset((train_x, train_y), None, checksum, found)
    return _dataset((train_x, train_y), _pair(arrays, _TEST_NAMES, found), checksum, found)


Pair = tuple[NDArray[np.generic], NDArray[np.generic]]


def _arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    if not zipfile.is_zipfile(path):
        raise DatasetError(f"{path} is no .npz file of arrays; numpy.savez writes one.")
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error) or type(error).__name__
        if "allow_pickle" in reason:
            reason = "it holds Python objects, which are not loaded; save plain arrays of numbers"
        raise DatasetError(f"{path} is no .npz file of arrays: {reason}.") from error


def _pair(arrays: Arrays, names: tuple[tuple[str, str], ...], path: Path) -> Pair:
    for x_name, y_name in names:
        if x_name in arrays and y_name in arrays:
            x, y = arrays[x_name], arrays[y_name]
            _check_inputs(x, x_name, path)
            if y.ndim == 0 or len(x) != len(y):
                raise DatasetError(
                    f"{path}: '{x_name}' and '{y_name}' must be equally long; got "
                    f"{len(x)} and {len(y) if y.ndim else 'a single value'}."
                )
            return x, y
    wanted = " or ".join(f"'{x}' with '{y}'" for x, y in names[:2])
    held = ", ".join(f"'{key}'" for key in arrays) or "nothing"
    raise DatasetError(f"{path} must hold the arrays {wanted}; it holds {held}.")


def _check_inputs(x: NDArray[np.generic], name: str, path: Path) -> None:
    if x.ndim < 2 or x.dtype.kind not in "buif" or x.size == 0:
        raise DatasetError(
            f"{path}: '{name}' must be numbers of shape (samples, ...), at least one of them; got "
            f"{x.dtype} of shape {x.shape}."
        )
    _check_finite(x, f"'{name}'", path)


def _check_finite(values: NDArray[np.generic], what: str, path: Path) -> None:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        said = "1 value" if count == 1 else f"{count:,} values"
        raise DatasetError(
            f"{path}: {said} of {what} {'is' if count == 1 else 'are'} not finite (NaN or "
            "infinite); remove these samples, or fill the gaps."
        )


def _dataset(train: Pair, test: Pair | None, checksum: str, path: Path) -> RawDataset:
    labels = train[1] if test is None else np.concatenate([train[1], test[1]])
    if labels.dtype.kind == "f":
        classes: tuple[str, ...] = ()
        _check_regression(labels, path)
    else:
        classes = _classes(labels, path)
    if test is not None and train[0].shape[1:] != test[0].shape[1:]:
        raise DatasetError(
            f"{path}: inputs that train have shape {train[0].shape[1:]}, those that test "
            f"{test[0].shape[1:]}; they must agree."
        )
    return RawDataset(
        train=_split(train, classes),
        test=None if test is None else _split(test, classes),
        task="classification" if classes else "regression",
        classes=classes,
        checksum=checksum,
        scaling=_scaling(train[0]),
    )


def _classes(labels: NDArray[np.generic], path: Path) -> tuple[str, ...]:
    if labels.dtype.kind not in "bui" or labels.ndim != 1:
        raise DatasetError(
            f"{path}: targets must be whole numbers of shape (samples,) for classes, or floating-"
            f"point numbers for regression; got {labels.dtype} of shape {labels.shape}."
        )
    numbers = np.unique(labels.astype(np.int64))
    if numbers[0] < 0 or numbers[-1] >= _MOST_CLASSES:
        raise DatasetError(
            f"{path}: classes must be numbered 0, 1, 2, ...; got numbers between {numbers[0]} and "
            f"{numbers[-1]}."
        )
    if len(numbers) < 2:
        raise DatasetError(f"{path}: there must be two classes at least; got {len(numbers)}.")
    return tuple(str(number) for number in range(int(numbers[-1]) + 1))


def _check_regression(values: NDArray[np.generic], path: Path) -> None:
    _check_finite(values, "the targets", path)
    if values.ndim > 2:
        raise DatasetError(
            f"{path}: targets of a regression must have shape (samples,) or (samples, k); got "
            f"{values.shape}."
        )
    as_classes = np.unique(values)
    if values.ndim == 1 and len(as_classes) <= 100 and (as_classes == np.round(as_classes)).all():
        raise DatasetError(
            f"{path}: the targets are {len(as_classes)} whole numbers stored as {values.dtype}: "
            "save classes as int64 (y.astype('int64')), and regression targets that are whole "
            "numbers with shape (samples, 1)."
        )


def _scaling(x: NDArray[np.generic]) -> Scaling:
    return "channel" if x.ndim > 2 else "feature"


def _split(pair: Pair, classes: tuple[str, ...]) -> TensorSplit:
    x, y = pair
    targets = y.astype(np.int64) if classes else _exact(y).reshape(len(y), -1)
    return TensorSplit(torch.from_numpy(_exact(x)), torch.from_numpy(targets))


def _exact(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """The values in the smallest type that torch computes with and that loses none of them."""
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    small = values.dtype.itemsize <= 2 or values.dtype == np.float32
    return np.ascontiguousarray(values, dtype=np.float32 if small else np.float64)
