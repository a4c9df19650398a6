"""CIFAR-10: both layouts, and files that are not to be trusted."""

from __future__ import annotations

import io
import pickle
import runpy
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from structure_net.data import load_dataset
from structure_net.data.sources.cifar10 import parse_pickled, read_members
from structure_net.errors import DatasetError


def pickled(batch: object, protocol: int = 2) -> bytes:
    return pickle.dumps(batch, protocol)


def test_a_pickled_batch_is_read() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3072), dtype=np.uint8)
    content = pickled({b"data": pixels, b"labels": [3, 1, 4, 1], b"batch_label": b"one of two"})
    read, labels = parse_pickled(content, "a file")
    assert np.array_equal(read, pixels)
    assert labels.tolist() == [3, 1, 4, 1]


class Hostile:
    """Runs a command when it is unpickled by an ordinary unpickler."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.target,)  # type: ignore[return-value]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_hostile_pickle_runs_nothing(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "touched"
    with pytest.raises(DatasetError, match="is no batch of CIFAR-10: it names"):
        parse_pickled(pickled({b"data": Hostile(target)}, protocol), "a file")
    assert not target.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"not a pickle", pickled([1, 2]), pickled({b"data": [1], b"labels": [1]})],
    ids=["empty", "noise", "a list", "no array"],
)
def test_what_is_no_batch_is_refused(content: bytes) -> None:
    with pytest.raises(DatasetError, match="is no batch of CIFAR-10"):
        parse_pickled(content, "a file")


def test_a_python_batch_that_was_changed_is_not_unpickled(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(pickled(Hostile(tmp_path / "touched")))
    with pytest.raises(DatasetError, match="data_batch_1 is damaged: its md5 is"):
        load_dataset("cifar10", data_dir=tmp_path, mapped=False)
    assert not (tmp_path / "touched").exists()


def test_a_binary_batch_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "cifar10" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    (folder / "data_batch_1.bin").write_bytes(b"\x00" * 1000)
    with pytest.raises(DatasetError, match=r"data_batch_1\.bin is damaged: it has 1000 bytes"):
        load_dataset("cifar10", data_dir=tmp_path, mapped=False)


def test_a_missing_set_is_named_with_its_public_archive(tmp_path: Path) -> None:
    wanted = r"cifar-10-binary\.tar\.gz \(md5 c32a1d4ab5d0.* or its folder cifar-10-batches-bin"
    with pytest.raises(DatasetError, match=wanted):
        load_dataset("cifar10", data_dir=tmp_path, mapped=False)


def archive(folder: Path, files: dict[str, bytes]) -> Path:
    path = folder / "packed.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_an_archive_is_read_without_being_unpacked(tmp_path: Path) -> None:
    held = {"in/b.bin": b"bb", "in/other": b"x", "../a.bin": b"no", "in/a.bin": b"aa"}
    path = archive(tmp_path, held)
    assert read_members(path, "in", ["a.bin", "b.bin"]) == {"a.bin": b"aa", "b.bin": b"bb"}
    assert list(tmp_path.iterdir()) == [path]


def test_an_archive_that_lacks_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"lacks in/b\.bin"):
        read_members(archive(tmp_path, {"in/a.bin": b"aa"}), "in", ["a.bin", "b.bin"])


def test_an_archive_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(100_000)
    path = archive(tmp_path, {"in/a.bin": noise})
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(DatasetError, match="cannot be unpacked"):
        read_members(path, "in", ["a.bin"])


def test_another_archive_under_the_published_name_is_refused(tmp_path: Path) -> None:
    archive(tmp_path, {}).rename(tmp_path / "cifar-10-binary.tar.gz")
    with pytest.raises(DatasetError, match=r"cifar-10-binary\.tar\.gz is damaged: its md5 is"):
        load_dataset("cifar10", data_dir=tmp_path, mapped=False)


def test_what_can_be_verified_goes_before_a_folder_that_cannot(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name in [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]:
        (folder / f"{name}.bin").write_bytes(bytes(10_000 * 3073))
    assert (
        load_dataset("cifar10", data_dir=tmp_path, mapped=False).descriptor.sizes["test"] == 10_000
    )
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(DatasetError, match=r"batches-py/data_batch_1 cannot be read"):
        load_dataset("cifar10", data_dir=tmp_path, mapped=False)
    archive(tmp_path, {}).rename(tmp_path / "cifar-10-binary.tar.gz")
    with pytest.raises(DatasetError, match=r"cifar-10-binary\.tar\.gz is damaged: its md5 is"):
        load_dataset("cifar10", data_dir=tmp_path, mapped=False)


@pytest.mark.data
def test_the_official_binary_layout_is_read(data_dir: Path, tmp_path: Path) -> None:
    unpack = data_dir / "unpack_cifar10.py"
    if not unpack.is_file():
        pytest.skip(f"{unpack} is absent, which decodes the official batches")
    # One batch stands for all six: decoding them all would take most of the suite's time.
    pixels = runpy.run_path(str(unpack))["pixels"]("test_batch").reshape(10_000, -1)
    labels = np.load(data_dir / "cifar10" / "labels.npz")["test_batch_labels"].astype(np.uint8)
    rows = np.concatenate([labels.reshape(-1, 1), pixels], 1).tobytes()
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name in [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]:
        (folder / f"{name}.bin").write_bytes(rows)
    data = load_dataset("cifar10", data_dir=tmp_path, mapped=False)
    assert data.descriptor.sizes == {"train": 45000, "validation": 5000, "test": 10000}
    assert data.test.targets[:4].tolist() == [3, 8, 8, 0]  # cat, ship, ship, airplane
    assert torch.equal(data.train.targets.bincount(), torch.full((10,), 4500))
    # The field's figures of the training images: .4914 .4822 .4465 and .2470 .2435 .2616. The means
    # of 10,000 others differ by about .14 / sqrt(10,000) = .0014, an image's mean varying by .14.
    mean = torch.tensor(data.descriptor.mean) / 255
    deviation = torch.tensor(data.descriptor.deviation) / 255
    assert (mean - torch.tensor([0.4914, 0.4822, 0.4465])).abs().max() < 4 * 0.0014
    assert (deviation - torch.tensor([0.2470, 0.2435, 0.2616])).abs().max() < 4 * 0.0014
