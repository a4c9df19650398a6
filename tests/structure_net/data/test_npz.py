"""A user's own ``.npz``: what is read, and how each mistake is answered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from structure_net.data import load_dataset
from structure_net.errors import DatasetError

Save = Callable[..., Path]

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((60, 3))
LABELS = np.arange(60) % 3


def test_features_and_classes_are_read(save: Save) -> None:
    data = load_dataset(str(save(x=X, y=LABELS)))
    assert (data.task, data.input_shape, data.outputs) == ("classification", (3,), 3)
    assert data.descriptor.sizes == {"train": 43, "validation": 5, "test": 12}


def test_a_test_set_of_the_files_own_is_kept(save: Save) -> None:
    data = load_dataset(str(save(x_train=X, y_train=LABELS, x_test=X[:6], y_test=LABELS[:6])))
    assert data.descriptor.sizes == {"train": 54, "validation": 6, "test": 6}


def test_floating_point_targets_are_regressed_and_normalised(save: Save) -> None:
    data = load_dataset(str(save(x=X, y=1e5 + X @ np.array([1.0, 2.0, 3.0]))))
    assert (data.task, data.outputs) == ("regression", 1)
    assert abs(data.train.targets.double().mean().item()) < 1e-5
    assert data.descriptor.target_mean[0] == pytest.approx(1e5, abs=5)


def test_images_are_normalised_per_channel(save: Save) -> None:
    images = GENERATOR.integers(0, 256, (60, 2, 4, 4), dtype=np.uint8)
    data = load_dataset(str(save(x=images, y=LABELS)))
    assert data.input_shape == (2, 4, 4)
    assert len(data.descriptor.mean) == 2


def test_a_relative_path_is_looked_for_in_the_data_folder(save: Save) -> None:
    path = save(x=X, y=LABELS)
    assert load_dataset(path.name, data_dir=path.parent).outputs == 3


def test_the_checksum_is_the_files_own(save: Save, tmp_path: Path) -> None:
    first = load_dataset(str(save(x=X, y=LABELS))).descriptor.checksum
    second = load_dataset(str(save(x=X + 1, y=LABELS))).descriptor.checksum
    assert first != second


MISTAKES = {
    "a missing key": ({"x": X, "label": LABELS}, "must hold the arrays 'x_train' with 'y_train'"),
    "unequal lengths": ({"x": X, "y": LABELS[:-1]}, "equally long; got 60 and 59"),
    "NaN": ({"x": np.where(X > 2, np.nan, X), "y": LABELS}, r"of 'x' (is|are) not finite"),
    "one NaN in the targets": (
        {"x": X, "y": np.where(np.arange(len(X)) == 3, np.nan, X.flat[: len(X)])},
        r"1 value of the targets is not finite",
    ),
    "infinity": ({"x": np.where(X > 2, np.inf, X), "y": LABELS}, r"of 'x' (is|are) not finite"),
    "float labels": ({"x": X, "y": LABELS.astype(float)}, "save classes as int64"),
    "text labels": ({"x": X, "y": LABELS.astype(str)}, "targets must be whole numbers"),
    "negative labels": ({"x": X, "y": LABELS - 1}, "must be numbered 0, 1, 2"),
    "one class": ({"x": X, "y": LABELS * 0}, "two classes at least; got 1"),
    "flat inputs": ({"x": X[:, 0], "y": LABELS}, r"shape \(samples, ...\)"),
    "text inputs": ({"x": X.astype(str), "y": LABELS}, "must be numbers"),
    "no samples": ({"x": X[:0], "y": LABELS[:0]}, "at least one of them"),
    "half a test set": ({"x": X, "y": LABELS, "x_test": X}, "must hold the arrays 'x_test'"),
    "another shape": (
        {"x": X, "y": LABELS, "x_test": X[:, :2], "y_test": LABELS},
        "they must agree",
    ),
    "objects": ({"x": np.array([{}] * 60), "y": LABELS}, "Python objects, which are not loaded"),
    "deep targets": ({"x": X, "y": X[:, :, None] * 1.5}, r"\(samples,\) or \(samples, k\)"),
    "too few": ({"x": X[:2], "y": LABELS[:2]}, "too few"),
}


@pytest.mark.parametrize(("arrays", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_answered_with_what_is_wrong(
    save: Save, arrays: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(DatasetError, match=message) as error:
        load_dataset(str(save(**arrays)))
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no file .*absent\.npz"):
        load_dataset(str(tmp_path / "absent.npz"))


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04broken"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.npz"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"damaged\.npz is no \.npz file"):
        load_dataset(str(path))


def test_a_file_cut_short_is_refused(save: Save) -> None:
    path = save(x=X, y=LABELS)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DatasetError, match=r"is no \.npz file"):
        load_dataset(str(path))


def test_inputs_of_any_number_type_are_read(save: Save) -> None:
    for dtype in (np.float16, np.float32, np.float64, np.int32, np.uint8, bool):
        data = load_dataset(str(save(x=(X > 0).astype(dtype), y=LABELS)))
        assert data.train.inputs.dtype == torch.float32
