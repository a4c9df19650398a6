"""What is noted of activations is what they hold, however they lie and whoever takes them in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from structure_net.core import row_notes
from structure_net.core.noting import Picked
from structure_net.core.row_notes import RowNotes, Wanted
from structure_net.core.unit_sums import unit_sums

WANTED = (
    Wanted(40, ends=False, rows=False),
    Wanted(33, ends=True, rows=True),
    Wanted(1, ends=True, rows=True),
    Wanted(7, ends=True, rows=True),
)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])


def _values(batch: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, one.units, generator=generator, dtype=dtype) for one in WANTED]


def _summed(values: Tensor) -> Tensor:
    if values.dim() > 2:
        values = values.flatten(2)
    sums = unit_sums(values[..., 0] if values.shape[2:] == (1,) else values)
    assert sums is not None
    return sums


def _taken(
    notes: RowNotes,
    values: Sequence[Tensor],
    picked: Picked | None = None,
    *,
    gate: bool = False,
) -> list[Tensor]:
    rows = [None, *([None] * 3 if picked is None else picked.rows)]
    pairs = enumerate(zip(values, rows, strict=True))
    found = [
        notes.take(place, one, room, picked, gate=gate and place > 0)
        for place, (one, room) in pairs
    ]
    notes.rest()
    return found


@DTYPES
@pytest.mark.parametrize("batch", [1, 13, 300])
@pytest.mark.parametrize("gate", [False, True], ids=["plain", "rectified"])
def test_notes_are_sums_and_rows_of_what_comes(batch: int, dtype: torch.dtype, gate: bool) -> None:
    notes, values = RowNotes(WANTED), _values(batch, dtype)
    expected = [values[0].clone(), *(one.relu() if gate else one.clone() for one in values[1:])]
    which, places = torch.tensor([batch - 1, 0]), torch.tensor([4, 1])
    rows = [torch.zeros(5, one.units, dtype=dtype) for one in WANTED[1:]]
    found = _taken(notes, values, Picked(which, places, rows), gate=gate)
    assert all(map(torch.equal, found, expected))
    told = notes.told()
    assert torch.equal(told[0].first[:2], _summed(expected[0])[:2])
    for said, one, kept in zip(told[1:], expected[1:], rows, strict=True):
        assert torch.equal(said.first, _summed(one))
        assert (said.others, said.values) == (None, batch)
        assert torch.equal(kept[places], one[which])
        assert not kept[[0, 2, 3]].any()


@DTYPES
@pytest.mark.parametrize("gate", [False, True], ids=["plain", "rectified"])
@pytest.mark.parametrize(
    "shape", [(5, 3, 7, 9), (3, 20, 70, 64), (600, 2, 3), (4, 3, 2, 3, 2), (9, 5, 1, 1), (2, 1, 1)]
)
def test_units_with_positions_are_summed_over_these(
    shape: tuple[int, ...], dtype: torch.dtype, gate: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(shape, generator=generator, dtype=dtype)
    expected = values.relu() if gate else values.clone()
    wanted = Wanted(shape[1], ends=True, rows=False), Wanted(shape[1], ends=False, rows=False)
    notes = RowNotes(wanted)
    assert torch.equal(notes.take(0, values, None, None, gate=gate), expected)
    assert torch.equal(notes.take(1, values, None, None, gate=False), expected)
    one, other = notes.told()
    assert torch.equal(one.first, _summed(expected))
    assert torch.equal(other.first[:2], one.first[:2])
    assert one.values == other.values == values.numel() // shape[1]


def test_what_is_rectified_is_what_torch_rectifies_to_the_sign_of_nothing() -> None:
    some = [-0.0, 0.0, -1.0, 2.0, torch.inf, -torch.inf, torch.nan, -1e-40]
    values = torch.tensor(some * 5).reshape(4, 10)
    expected = values.relu()
    found = RowNotes([Wanted(10, ends=True, rows=True)]).take(0, values, None, None, gate=True)
    assert found is values
    assert torch.equal(found.view(torch.int32), expected.view(torch.int32))


def test_sums_of_the_first_batch_stay_apart_of_those_of_the_others() -> None:
    notes, batches = RowNotes(WANTED), [_values(9, seed=seed) for seed in range(4)]
    batches[3] = [one[:5] for one in batches[3]]
    for values in batches:
        _taken(notes, values)
    for place, (first, others, count) in enumerate(notes.told()[1:], 1):
        assert torch.equal(first, _summed(batches[0][place]))
        whole = _summed(torch.cat([values[place] for values in batches[1:]]))
        assert others is not None
        torch.testing.assert_close(others, whole, rtol=0, atol=1e-12)
        assert count == 3 * 9 + 5


@pytest.mark.parametrize("batch", [9, 256 * 8 + 1])
@pytest.mark.parametrize("gate", [False, True], ids=["plain", "rectified"])
@pytest.mark.parametrize("lies", ["in rows", "apart", "in runs", "in runs apart", "anyhow"])
def test_rows_lie_as_they_like(lies: str, gate: bool, batch: int) -> None:
    made: dict[str, Callable[[Tensor], Tensor]] = {
        "in rows": lambda one: one,
        "apart": lambda one: torch.cat((one, one), 1)[:, : one.shape[1]],
        "in runs": lambda one: one.t().contiguous().t(),
        "in runs apart": lambda one: torch.cat((one, one)).t().contiguous().t()[: len(one)],
        "anyhow": lambda one: (
            one.repeat_interleave(2, 1).t().contiguous().t()[:, ::2].t()[:, : len(one)].t()
        ),
    }
    values = _values(batch)
    others = [made[lies](one) for one in values]
    assert all(map(torch.equal, others, values))
    expected = [values[0], *(one.relu() if gate else one for one in values[1:])]
    notes, rows = RowNotes(WANTED), [torch.zeros(2, one.units).double() for one in WANTED[1:]]
    picked = Picked(torch.tensor([3]), torch.tensor([1]), rows)
    assert all(map(torch.equal, _taken(notes, others, picked, gate=gate), expected))
    for told, one, kept in zip(notes.told()[1:], expected[1:], rows, strict=True):
        torch.testing.assert_close(told.first[:4], _summed(one)[:4], rtol=0, atol=1e-9)
        assert torch.equal(told.first[4:], _summed(one)[4:])
        assert torch.equal(kept[1], one[3])


def test_images_that_lie_otherwise_are_noted_as_they_are() -> None:
    values = torch.randn(4, 3, 5, 6, dtype=torch.float64).to(memory_format=torch.channels_last)
    expected = values.relu()
    notes = RowNotes([Wanted(3, ends=True, rows=False)])
    assert torch.equal(notes.take(0, values, None, None, gate=True), expected)
    assert torch.equal(notes.told()[0].first, _summed(expected.contiguous()))


def test_what_is_of_other_units_is_left_to_who_takes_it() -> None:
    notes = RowNotes([Wanted(3, ends=True, rows=True)])
    assert notes.take(0, torch.full((2, 4), -1.0), None, None, gate=True).eq(0).all()
    notes.rest()
    assert notes.told()[0].values == 0


@pytest.mark.parametrize("teams", [True, False], ids=["team", "alone"])
def test_notes_are_the_same_bits_on_any_number_of_threads(
    teams: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, together, before = RowNotes(WANTED), RowNotes(WANTED), torch.get_num_threads()
    _taken(alone, _values(64), gate=True)
    called: list[int] = []

    def team(kernel: Callable[[int], None], table: int, threads: int) -> bool:
        called.append(threads)
        for _ in range(threads * teams):
            kernel(table)
        return teams

    monkeypatch.setattr(row_notes, "SHARED_WORK", 0)
    monkeypatch.setattr(row_notes, "in_team", team)
    torch.set_num_threads(3)
    try:
        _taken(together, _values(64), gate=True)
    finally:
        torch.set_num_threads(before)
    assert called == [3] * 4
    for one, other in zip(together.told(), alone.told(), strict=True):
        assert torch.equal(one.first, other.first)


def test_memory_that_was_freed_is_not_read() -> None:
    notes, values = RowNotes(WANTED), _values(9)
    values[1].untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="has no memory"):
        _taken(notes, values)
