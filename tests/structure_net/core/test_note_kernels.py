"""What is noted of an activation are the sums that it has by itself, and some of its values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from structure_net.core.note_kernels import pick, pick_rows, scratch, take_in, take_in_rows
from structure_net.core.unit_kernels import LONGEST
from structure_net.core.unit_sums import unit_sums

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
UNITS = 150
"""Two strips of float32 and a rest."""


def _drawn(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def _nothing(units: int) -> Tensor:
    sums = torch.zeros(6, units, dtype=torch.float64)
    sums[4], sums[5] = torch.inf, -torch.inf
    return sums


def _room(units: int) -> Tensor:
    return torch.empty(scratch(units), dtype=torch.uint8)


def _summed(values: Tensor) -> Tensor:
    sums = unit_sums(values)
    assert sums is not None
    return sums


@DTYPES
@pytest.mark.parametrize("length", [1, 5, 128, 300, 600])
@pytest.mark.parametrize("gap", [0, 7])
def test_rows_that_are_taken_in_have_the_bits_that_are_summed(
    length: int, gap: int, dtype: torch.dtype
) -> None:
    rows, sums = _drawn(length, UNITS + gap, dtype=dtype)[:, :UNITS], _nothing(UNITS)
    moments = _nothing(UNITS)
    zero, room = rows.numpy().dtype.type(0), _room(UNITS)
    tensors = rows.data_ptr(), sums.data_ptr(), room.data_ptr()
    for block in ((0, 16), (16, 144), (144, UNITS)):
        take_in_rows(zero, 0.0, tensors, (length, UNITS, UNITS + gap, 6), block)
        few = rows.data_ptr(), moments.data_ptr(), room.data_ptr()
        take_in_rows(zero, 0.0, few, (length, UNITS, UNITS + gap, 2), block)
    assert torch.equal(sums, _summed(rows))
    assert torch.equal(moments[:2], sums[:2])
    assert torch.equal(moments[2:], _nothing(UNITS)[2:])


@DTYPES
@pytest.mark.parametrize("length", [1, 5, 37, 128])
def test_columns_that_are_taken_in_have_the_bits_that_are_summed(
    length: int, dtype: torch.dtype
) -> None:
    columns, sums, moments = _drawn(33, length, dtype=dtype), _nothing(33), _nothing(33)
    zero = columns.numpy().dtype.type(0)
    assert length <= LONGEST
    for first, last in ((0, 16), (16, 33)):
        for found, wanted in ((sums, 6), (moments, 2)):
            tensors = columns.data_ptr(), found.data_ptr()
            take_in(zero, 0.0, tensors, (33, length), (first, last, wanted))
    assert torch.equal(sums, _summed(columns.T))
    assert torch.equal(moments[:2], sums[:2])


@pytest.mark.parametrize("length", [1, 600])
def test_sums_go_on_where_they_stand(length: int) -> None:
    parts, sums, room = _drawn(3, length, 40), _nothing(40), _room(40)
    for part in parts:
        tensors = part.data_ptr(), sums.data_ptr(), room.data_ptr()
        take_in_rows(np.float64(0), 0.0, tensors, (length, 40, 40, 6), (0, 40))
    found = torch.stack([_summed(part) for part in parts])
    assert torch.equal(sums[:4], found[0, :4] + found[1, :4] + found[2, :4])
    assert torch.equal(sums[4], found[:, 4].amin(0))
    assert torch.equal(sums[5], found[:, 5].amax(0))


@pytest.mark.parametrize("side_by_side", [True, False])
def test_some_values_of_each_unit_are_copied_to_their_places(side_by_side: bool) -> None:
    values, rows = _drawn(19, 11), torch.zeros(11, 3).double().T
    which, places = torch.tensor([18, 0]), torch.tensor([2, 0])
    for block in ((0, 9), (9, 11)):
        if side_by_side:
            tensors = tuple(one.data_ptr() for one in (values, rows, which, places))
            pick_rows(np.float64(0), tensors, 2, (11, *reversed(rows.stride())), block)
        else:
            columns = values.T.contiguous()
            tensors = tuple(one.data_ptr() for one in (columns, rows, which, places))
            pick(np.float64(0), tensors, (19, 2, *reversed(rows.stride())), block)
    assert torch.equal(rows[[2, 0]], values[[18, 0]])
    assert not rows[1].any()
