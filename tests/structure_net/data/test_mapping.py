"""Mapped sets give the batches of sets in memory, are shared, checked, and made anew if damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from structure_net.data import (
    DatasetCacheWarning,
    DatasetRequest,
    MappedBatches,
    MappedSplit,
    RawDataset,
    TensorSplit,
    load_dataset,
    mapping,
    register_dataset,
    registry,
)
from structure_net.data.mapping import (
    MappedDataset,
    Origin,
    map_dataset,
    mapped_if_there,
    size_of,
)
from structure_net.data.sources import npz
from structure_net.errors import DatasetError

LOADS: list[str] = []


def planted(request: DatasetRequest) -> RawDataset:
    """Forty points of two classes; says that it was called."""
    LOADS.append(request.name)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 255, (40, 2, 3), generator=generator).to(torch.uint8)
    targets = torch.arange(40) % 2
    train, test = TensorSplit(inputs[:30], targets[:30]), TensorSplit(inputs[30:], targets[30:])
    return RawDataset(train, test, "classification", ("a", "b"), "0" * 32, "channel")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STRUCTURE_NET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    register_dataset("planted", planted)
    LOADS.clear()
    return tmp_path / "cache" / "mapped"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("table") / "table.npz"
    np.savez(path, x=generator.normal(3, 2, (60, 4)), y=generator.normal(size=(60, 2)))
    return path


@pytest.mark.parametrize("name", ["digits", "planted", "table"])
@pytest.mark.parametrize("seed", [0, 7])
def test_mapped_batches_are_those_in_memory_bit_for_bit(name: str, seed: int, table: Path) -> None:
    asked = str(table) if name == "table" else name
    held = load_dataset(asked, seed=seed)
    for _ in range(2):  # written, then found
        mapped = load_dataset(asked, seed=seed, mapped=True)
        assert mapped.descriptor == held.descriptor
        assert (mapped.input_shape, mapped.outputs) == (held.input_shape, held.outputs)
        for split in ("train", "validation", "test"):
            one, other = getattr(held, split), getattr(mapped, split)
            assert isinstance(other, MappedSplit)
            pairs = zip(
                one.flattened().batches(7, shuffle=True, seed=3),
                other.flattened().batches(7, shuffle=True, seed=3),
                strict=True,
            )
            assert all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in pairs)
            assert torch.equal(one.inputs, other.inputs)
            assert torch.equal(one.targets, other.targets)


def test_the_arrays_keep_the_sources_values_and_are_written_once_for_all_seeds(cache: Path) -> None:
    for seed in range(3):
        load_dataset("planted", seed=seed, mapped=True)
    assert LOADS == ["planted"]
    (folder,) = cache.iterdir()
    assert np.load(folder / "train_inputs.npy").dtype == np.uint8
    assert json.loads((folder / "facts.json").read_text())["notes"]["checksum"] == "0" * 32


def test_another_version_of_a_loader_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    load_dataset("planted", mapped=True)
    del registry._REGISTRY["planted"]
    register_dataset("planted", planted, version="2")
    data = load_dataset("planted", mapped=True)
    assert len(LOADS) == 2
    assert data.descriptor.version == "2"
    assert data.descriptor.transforms == (
        "inputs to zero mean and unit deviation over each channel",
    )


def test_a_large_set_is_mapped_without_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("structure_net.data.loading.LARGE", 100)
    assert isinstance(load_dataset("planted").train, MappedSplit)
    assert isinstance(load_dataset("planted").train, MappedSplit)
    assert LOADS == ["planted"]
    assert isinstance(load_dataset("planted", mapped=False).train, TensorSplit)
    monkeypatch.setattr("structure_net.data.loading.LARGE", mapping.LARGE)
    assert isinstance(load_dataset("planted").train, TensorSplit)


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "facts"])
def test_a_damaged_cache_is_made_anew_and_said(cache: Path, damage: str) -> None:
    before = load_dataset("planted", mapped=True).train.inputs
    (folder,) = cache.iterdir()
    path = folder / ("facts.json" if damage == "facts" else "train_inputs.npy")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    os.utime(path)
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-5] if damage in {"cut", "facts"} else content)
    with pytest.warns(DatasetCacheWarning, match=r"was damaged .* made anew"):
        after = load_dataset("planted", mapped=True).train.inputs
    assert torch.equal(before, after)
    assert len(LOADS) == 2


def test_a_file_that_was_only_touched_is_still_good(cache: Path) -> None:
    load_dataset("planted", mapped=True)
    (folder,) = cache.iterdir()
    os.utime(folder / "train_inputs.npy", (0, 0))
    load_dataset("planted", mapped=True)
    assert LOADS == ["planted"]


def test_what_is_written_to_a_mapped_tensor_stays_in_the_process(cache: Path) -> None:
    split = load_dataset("planted", mapped=True).train
    assert isinstance(split, MappedSplit)
    split.source.zero_()
    again = load_dataset("planted", mapped=True).train
    assert isinstance(again, MappedSplit)
    assert again.source.any()


def test_selecting_and_flattening_copy_nothing() -> None:
    split = load_dataset("planted", mapped=True).train
    assert isinstance(split, MappedSplit)
    part = split.select(torch.tensor([3, 1])).flattened()
    assert part.source is split.source
    assert part.input_shape == (6,)
    assert torch.equal(part.inputs, split.inputs[[3, 1]].flatten(1))
    assert repr(part) == "MappedSplit(2 of 30 samples, inputs (2, 3))"


def test_batches_refuse_what_batches_in_memory_refuse() -> None:
    split = load_dataset("planted", mapped=True).train
    assert isinstance(split, MappedSplit)
    for size, seed in ((0, 0), (2, -1)):
        with pytest.raises(ValueError, match="must be"):
            MappedBatches(split, size, seed=seed)
    batches = split.batches(10, drop_last=True)
    assert len(batches) == len(list(batches)) == 2
    batches.set_epoch(5)
    assert batches.epoch == 5


def test_a_cache_that_cannot_be_written_says_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("STRUCTURE_NET_CACHE", str(tmp_path / "file"))
    with pytest.raises(DatasetError, match=r"cannot be written.*STRUCTURE_NET_CACHE"):
        load_dataset("planted", mapped=True)


def test_an_origin_names_its_folder_by_all_that_it_is_made_of() -> None:
    one, other = Origin("a", ("1",)), Origin("a", ("2",))
    assert one.folder != other.folder
    assert mapped_if_there(one) is None
    raw = planted(DatasetRequest("planted", Path(), False, {}))
    made = map_dataset(one, lambda: raw)
    assert isinstance(made, MappedDataset)
    assert torch.equal(made.raw.train.inputs, raw.train.inputs)
    found = mapped_if_there(one)
    assert found is not None
    assert found.identity == made.identity
    assert size_of(raw) == 40 * 6 + 40 * 8


def test_files_of_the_source_that_change_are_read_anew_and_gone_ones_are_not_missed(
    tmp_path: Path, table: Path
) -> None:
    source = tmp_path / "mine.npz"
    register_dataset("mine", lambda request: npz.load(source, tmp_path))
    content = np.load(table)
    sums = []
    for factor in (1.0, 2.0):
        np.savez(source, x=content["x"] * factor, y=content["y"])
        os.utime(source, ns=(0, int(factor) << 40))
        sums.append(load_dataset("mine", mapped=True).descriptor.mean[0])
    assert sums[1] == pytest.approx(2 * sums[0])
    source.unlink()
    assert load_dataset("mine", mapped=True).descriptor.mean[0] == sums[1]


def test_a_large_set_stays_in_memory_where_the_cache_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("STRUCTURE_NET_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr("structure_net.data.loading.LARGE", 100)
    with pytest.warns(DatasetCacheWarning, match=r"cannot be written.* held in memory") as told:
        assert isinstance(load_dataset("planted").train, TensorSplit)
    assert told[0].filename == __file__


def test_samples_that_are_copied_to_a_device_make_the_same_batches() -> None:
    split = load_dataset("planted", mapped=True).validation
    assert isinstance(split, MappedSplit)
    copied = split.on("cpu")
    assert len(copied.source) == len(split) < len(split.source)
    assert copied.nbytes == split.nbytes == len(split) * (6 + 8)
    for one, other in zip(split.batches(4), copied.batches(4), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


_PROGRAM = """
from structure_net.data import load_dataset
split = load_dataset("digits", mapped=True).train
print(float(split.inputs.double().sum()), len(split))
"""


def test_several_processes_write_and_read_at_once(cache: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", _PROGRAM]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    ended = [process.communicate() for process in running]
    assert len({out for out, _ in ended}) == 1, ended
    assert len(list(cache.iterdir())) == 1
