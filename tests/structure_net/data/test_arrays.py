"""A folder of arrays holds what was written, says what is damaged, and is identified by content."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from structure_net.data.arrays import (
    FACTS,
    ArrayFolder,
    DamagedArraysError,
    alone_in,
    read_arrays,
    stamp,
    write_arrays,
)

ARRAYS = {"a": torch.arange(12).reshape(3, 4), "b": torch.zeros(0, 2)}


def test_what_was_written_is_read_and_identified_by_its_arrays(tmp_path: Path) -> None:
    assert read_arrays(tmp_path) is None
    assert read_arrays(tmp_path / "absent") is None
    identities = []
    for notes in ({"x": [1, "two"]}, {"x": None}):
        write_arrays(tmp_path, ARRAYS, notes)
        found = read_arrays(tmp_path)
        assert isinstance(found, ArrayFolder)
        assert found.notes == notes
        assert all(torch.equal(found.arrays[name], ARRAYS[name]) for name in ARRAYS)
        identities.append(found.identity)
    write_arrays(tmp_path, {"a": ARRAYS["a"] + 1}, {})
    other = read_arrays(tmp_path)
    assert other is not None
    assert identities[0] == identities[1] != other.identity


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null", b'{"sha256": 3}', b"\xff"])
def test_facts_that_are_none_are_damage(tmp_path: Path, content: bytes) -> None:
    write_arrays(tmp_path, ARRAYS, {})
    (tmp_path / FACTS).write_bytes(content)
    with pytest.raises(DamagedArraysError, match=r"facts\.json is not what was written"):
        read_arrays(tmp_path)


def test_any_change_of_the_facts_is_damage(tmp_path: Path) -> None:
    write_arrays(tmp_path, ARRAYS, {"scaling": "channel"})
    path = tmp_path / FACTS
    facts = json.loads(path.read_text())
    facts["notes"]["scaling"] = "none"
    path.write_text(json.dumps(facts))
    with pytest.raises(DamagedArraysError):
        read_arrays(tmp_path)


def test_an_array_is_summed_only_where_its_size_or_time_changed(tmp_path: Path) -> None:
    write_arrays(tmp_path, ARRAYS, {})
    path = tmp_path / "a.npy"
    before = stamp(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedArraysError, match=r"a\.npy has another SHA-256"):
        read_arrays(tmp_path)
    os.utime(path, ns=(before["changed"], before["changed"]))
    assert read_arrays(tmp_path) is not None  # it is taken at its word
    path.unlink()
    with pytest.raises(DamagedArraysError, match=r"a\.npy is gone"):
        read_arrays(tmp_path)


def test_one_at_a_time_may_write(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    with (
        alone_in(tmp_path),
        (tmp_path / ".lock").open() as other,
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with pytest.raises(OSError, match="absent"), alone_in(tmp_path / "absent"):
        pass
