"""What is noted of rows is what they hold, whoever takes them in and in how many parts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from structure_net.core import sparse_passes
from structure_net.core.noting import Picked
from structure_net.core.row_notes import RowNotes, Wanted
from structure_net.core.unit_sums import unit_sums

WANTED = (Wanted(40, ends=False), Wanted(33, ends=True), Wanted(1, ends=True), Wanted(7, ends=True))


def _values(batch: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, one.units, generator=generator, dtype=dtype) for one in WANTED]


def _summed(values: Tensor) -> Tensor:
    sums = unit_sums(values)
    assert sums is not None
    return sums


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize("batch", [1, 13, 300])
@pytest.mark.parametrize("parts", [(4,), (1, 2, 1)], ids=["together", "apart"])
def test_notes_are_sums_and_rows_of_what_comes(
    batch: int, dtype: torch.dtype, parts: tuple[int, ...]
) -> None:
    notes, values = RowNotes(WANTED), _values(batch, dtype)
    which, places = torch.tensor([batch - 1, 0]), torch.tensor([4, 1])
    rows = [torch.zeros(5, one.units, dtype=dtype) for one in WANTED[1:]]
    first = 0
    for number in parts:
        notes.take(first, values[first : first + number], Picked(which, places, rows))
        first += number
    assert torch.equal(notes.sums[0][:2], _summed(values[0])[:2])
    for sums, one, kept in zip(notes.sums[1:], values[1:], rows, strict=True):
        assert torch.equal(sums, _summed(one))
        assert torch.equal(kept[places], one[which])
        assert not kept[[0, 2, 3]].any()


def test_notes_go_on_until_they_are_told_and_begin_anew() -> None:
    notes = RowNotes(WANTED)
    batches = [_values(9, seed=seed) for seed in range(3)]
    for values in batches:
        notes.take(0, values, None)
        notes.count += 9
    count, sums = notes.told()
    assert count == 27
    for place, found in enumerate(sums[1:], 1):
        whole = _summed(torch.cat([values[place] for values in batches]))
        torch.testing.assert_close(found, whole, rtol=0, atol=1e-12)
    notes.take(0, batches[0], None)
    assert notes.count == 0
    assert torch.equal(notes.sums[1], _summed(batches[0][1]))
    assert not torch.equal(sums[1], notes.sums[1])


@pytest.mark.parametrize("batch", [9, 256 * 8 + 1])
@pytest.mark.parametrize("lies", ["in rows", "apart", "in runs", "anyhow"])
def test_rows_lie_as_they_like(lies: str, batch: int) -> None:
    values = _values(batch)
    made: dict[str, Callable[[Tensor], Tensor]] = {
        "in rows": lambda one: one,
        "apart": lambda one: torch.cat((one, one), 1)[:, : one.shape[1]],
        "in runs": lambda one: one.t().contiguous().t(),
        "anyhow": lambda one: one.repeat_interleave(2, 1).t().contiguous().t()[:, ::2],
    }
    others = [made[lies](one) for one in values]
    assert all(map(torch.equal, others, values))
    notes, rows = RowNotes(WANTED), [torch.zeros(2, one.units).double() for one in WANTED[1:]]
    picked = Picked(torch.tensor([3]), torch.tensor([1]), rows)
    notes.take(0, others, picked)
    notes.take(0, others, picked)
    for sums, one, kept in zip(notes.sums[1:], values[1:], rows, strict=True):
        twice = 2 * _summed(one)
        torch.testing.assert_close(sums[:4], twice[:4], rtol=0, atol=1e-9)
        assert torch.equal(sums[4:], _summed(one)[4:])
        assert torch.equal(kept[1], one[3])


def test_notes_are_the_same_bits_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    alone, together, before = RowNotes(WANTED), RowNotes(WANTED), torch.get_num_threads()
    alone.take(0, _values(64), None)
    monkeypatch.setattr(sparse_passes, "SHARED_WORK", 0)
    monkeypatch.setattr(sparse_passes, "THREADED_WORK", 0)
    torch.set_num_threads(3)
    try:
        together.take(0, _values(64), None)
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, together.sums, alone.sums))


def test_memory_that_was_freed_is_not_read() -> None:
    notes, values = RowNotes(WANTED), _values(9)
    values[1].untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="has no memory"):
        notes.take(0, values, None)
