"""Splits and statistics are kept beside a mapped set, and made anew where they do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from structure_net.data import RawDataset, TensorSplit
from structure_net.data.mapping import MappedDataset, Origin, map_dataset
from structure_net.data.normalising import Normalisation
from structure_net.data.partitions import Partition, kept_partition, partition


def raw(*, classes: bool, tested: bool, shift: float = 0.0) -> RawDataset:
    """Fifty samples of two features."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(50, 2, generator=generator) + shift
    targets = torch.arange(50) % 2 if classes else torch.randn(50, 1, generator=generator)
    test = TensorSplit(inputs[:9], targets[:9]) if tested else None
    task = "classification" if classes else "regression"
    names = ("a", "b") if classes else ()
    return RawDataset(TensorSplit(inputs, targets), test, task, names, "0" * 32)  # type: ignore[arg-type]


def same(one: Partition, other: Partition) -> bool:
    """Whether two partitions are equal, bit for bit."""
    pairs = [(getattr(one, name), getattr(other, name)) for name in ("train", "validation", "test")]
    for name in ("inputs", "targets"):
        a, b = getattr(one, name), getattr(other, name)
        pairs += [(a.mean, b.mean), (a.deviation, b.deviation)]
    return all(torch.equal(a, b) and a.dtype == b.dtype for a, b in pairs)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STRUCTURE_NET_CACHE", str(tmp_path))
    return tmp_path


def mapped(data: RawDataset) -> MappedDataset:
    return map_dataset(Origin("planted", ()), lambda: data)


@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize("tested", [True, False])
@pytest.mark.parametrize("fraction", [0.0, 0.1])
def test_what_is_kept_is_what_was_computed(
    classes: bool, tested: bool, fraction: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = raw(classes=classes, tested=tested)
    there = mapped(data)
    computed = [partition(data, seed, fraction) for seed in (0, 3)]
    first = [kept_partition(there, seed, fraction) for seed in (0, 3)]
    monkeypatch.setattr(Normalisation, "fit", None)  # whoever computes again, fails
    again = [kept_partition(there, seed, fraction) for seed in (0, 3)]
    for one, two, three in zip(computed, first, again, strict=True):
        assert same(one, two)
        assert same(one, three)
    assert not same(again[0], again[1]) or not fraction


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "no zip", "a name"])
def test_what_is_damaged_is_made_anew(damage: str) -> None:
    there = mapped(raw(classes=True, tested=False))
    before = kept_partition(there, 0, 0.1)
    (path,) = there.folder.glob("split*.npz")
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[content.index(b"roles.npy") + 200] ^= 4
    path.write_bytes(
        {
            "cut": bytes(content[:-40]),
            "empty": b"",
            "no zip": b"{}",
            "a name": bytes(content).replace(b"roles", b"rolls"),
        }.get(damage, bytes(content))
    )
    assert same(kept_partition(there, 0, 0.1), before)
    with np.load(path) as archive:
        assert len(archive["roles"]) == 50


def test_a_partition_of_other_samples_is_not_taken(tmp_path: Path) -> None:
    there = mapped(raw(classes=True, tested=False))
    kept_partition(there, 0, 0.1)
    (path,) = there.folder.glob("split*.npz")
    other = map_dataset(Origin("other", ()), lambda: raw(classes=True, tested=False, shift=9.0))
    (other.folder / path.name).write_bytes(path.read_bytes())
    found = kept_partition(other, 0, 0.1)
    assert same(found, partition(other.raw, 0, 0.1))
    assert float(found.inputs.mean.mean()) > 8


def test_a_folder_that_cannot_be_written_costs_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    there = mapped(raw(classes=True, tested=True))

    def refused(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("structure_net.data.partitions.alone_in", refused)
    assert same(kept_partition(there, 0, 0.1), partition(there.raw, 0, 0.1))
    assert not list(there.folder.glob("split*"))


def test_fractions_and_seeds_out_of_range_are_refused() -> None:
    there = mapped(raw(classes=True, tested=True))
    for seed, fraction in ((0, 1.0), (-1, 0.1)):
        with pytest.raises(ValueError, match="must be"):
            kept_partition(there, seed, fraction)
