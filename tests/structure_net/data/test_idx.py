"""idx files: parsed exactly, and refused when damaged; MNIST itself where it is at hand."""

from __future__ import annotations

import gzip
import shutil
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from structure_net.data import load_dataset
from structure_net.data.sources.idx import parse_idx
from structure_net.errors import DatasetError


def idx(shape: tuple[int, ...], values: bytes) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + values


@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_what_was_written_is_read(shape: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 256, tuple(shape), generator=generator, dtype=torch.uint8)
    assert torch.equal(parse_idx(idx(tuple(shape), values.numpy().tobytes()), "a file"), values)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no idx file"),
        (b"\x00\x00\x08", "no idx file"),
        (b"\x00\x00\x0d\x01" + b"\x00\x00\x00\x01" + b"\x00" * 4, "no idx file"),
        (b"\x00\x00\x08\x03\x00\x00", "no idx file"),
        (idx((2, 2), b"abc"), "cut short or overlong: .*announces 4 values, 3 follow"),
        (idx((2, 2), b"abcde"), "cut short or overlong: .*announces 4 values, 5 follow"),
    ],
)
def test_what_is_no_idx_file_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        parse_idx(content, "a file")


def test_a_missing_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as error:
        load_dataset("mnist", data_dir=tmp_path)
    said = str(error.value)
    assert "train-images-idx3-ubyte.gz (md5 f68b3c2dcbeaaa9fbdd348bbdeb94873)" in said
    assert all(word in said for word in (str(tmp_path), "--data-dir", "STRUCTURE_NET_DATA"))
    assert "--download" in said


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "mean", "deviation"),
    # The figures that the field's programs carry: MNIST .1307 and .3081, Fashion-MNIST .2860 and
    # .3530, of all 60,000 images; those of our 54,000 differ by sampling, here below .0005.
    [("mnist", 0.1307, 0.3081), ("fashion_mnist", 0.2860, 0.3530)],
)
def test_the_published_sets_have_their_known_statistics(
    data_dir: Path, name: str, mean: float, deviation: float
) -> None:
    data = load_dataset(name, data_dir=data_dir)
    assert data.descriptor.sizes == {"train": 54000, "validation": 6000, "test": 10000}
    assert data.input_shape == (1, 28, 28)
    assert data.descriptor.mean[0] / 255 == pytest.approx(mean, abs=5e-4)
    assert data.descriptor.deviation[0] / 255 == pytest.approx(deviation, abs=5e-4)


@pytest.mark.data
def test_unpacked_files_and_a_plain_folder_are_read_too(data_dir: Path, tmp_path: Path) -> None:
    for packed in (data_dir / "mnist" / "MNIST" / "raw").glob("*.gz"):
        (tmp_path / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    ours = load_dataset("mnist", data_dir=tmp_path, mapped=False)
    theirs = load_dataset("mnist", data_dir=data_dir)
    assert torch.equal(ours.test.inputs, theirs.test.inputs)
    assert ours.descriptor == theirs.descriptor


@pytest.mark.data
def test_a_damaged_file_is_refused(data_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mnist"
    shutil.copytree(data_dir / "mnist" / "MNIST" / "raw", folder)
    damaged = folder / "train-labels-idx1-ubyte.gz"
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-10])
    with pytest.raises(DatasetError, match=r"train-labels-idx1-ubyte\.gz is damaged: its md5 is"):
        load_dataset("mnist", data_dir=tmp_path)


@pytest.mark.data
def test_mnist1d_keeps_its_published_split(data_dir: Path) -> None:
    data = load_dataset("mnist1d", data_dir=data_dir)
    assert data.descriptor.sizes == {"train": 3600, "validation": 400, "test": 1000}
    assert (data.input_shape, data.outputs) == ((40,), 10)


@pytest.mark.data
def test_california_housing_is_a_regression_without_gaps(data_dir: Path) -> None:
    data = load_dataset("california_housing", data_dir=data_dir)
    assert (data.task, data.outputs, data.input_shape) == ("regression", 1, (14,))
    assert sum(data.descriptor.sizes.values()) == 20640
    assert data.train.inputs.isfinite().all()
    # The mean house value of all blocks is 206,856 dollars (Pace and Barry); a sample's differs by
    # about 115,000 / sqrt(14,861) = 950.
    assert data.descriptor.target_mean[0] == pytest.approx(206_856, abs=4 * 950)
