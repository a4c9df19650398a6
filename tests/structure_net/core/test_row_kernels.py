"""Kernels that note activations write what their tables say, alone and beside each other."""

from __future__ import annotations

from array import array

import pytest
import torch
from torch import Tensor

from structure_net.core.row_kernels import (
    COLUMNS,
    ROWS,
    RUNS,
    TOGETHER,
    help_with_doubles,
    help_with_singles,
    note,
    room,
)
from structure_net.core.sparse_passes import ZEROS
from structure_net.core.unit_sums import unit_sums

UNITS = 37
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])


def _nothing() -> Tensor:
    sums = torch.zeros(6, UNITS, dtype=torch.float64)
    sums[4], sums[5] = torch.inf, -torch.inf
    return sums


def _laid(kind: int, dtype: torch.dtype) -> tuple[Tensor, tuple[int, ...]]:
    """Values as ``(before, units, after)`` or ``(before, units)``, and how they lie."""
    generator = torch.Generator().manual_seed(kind)
    if kind == RUNS:
        values = torch.randn(9, UNITS, 600, generator=generator, dtype=dtype)
        return values, (9, 600, UNITS * 600, 600)
    if kind == ROWS:
        return torch.randn(300, UNITS, generator=generator, dtype=dtype), (300, 1, UNITS, 1)
    return torch.randn(UNITS, 50, generator=generator, dtype=dtype).t(), (1, 50, 0, 50)


def _expected(values: Tensor) -> Tensor:
    sums = unit_sums(values.relu())
    assert sums is not None
    return sums


@DTYPES
@pytest.mark.parametrize("kind", [ROWS, RUNS, TOGETHER], ids=["rows", "runs", "together"])
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "shared"])
def test_what_is_rectified_and_summed_is_what_torch_rectifies(
    kind: int, dtype: torch.dtype, alone: bool
) -> None:
    values, shape = _laid(kind, dtype)
    expected, after, sums = _expected(values), values.relu(), _nothing()
    memory = torch.empty(room(UNITS, kind), dtype=torch.uint8)
    addresses = values.data_ptr(), sums.data_ptr(), memory.data_ptr()
    table = array("q", (*addresses, UNITS, *shape, 6, 1, kind, 5, *[0] * 7))
    assert len(table) == COLUMNS
    if alone:
        note(ZEROS[dtype], table.buffer_info()[0])
    else:
        (help_with_singles if dtype == torch.float32 else help_with_doubles)(table.buffer_info()[0])
    assert torch.equal(sums, expected)
    assert torch.equal(values, after)


def test_who_comes_late_finds_nothing_to_do() -> None:
    values, shape = _laid(ROWS, torch.float64)
    sums, memory = _nothing(), torch.empty(room(UNITS, ROWS), dtype=torch.uint8)
    addresses = values.data_ptr(), sums.data_ptr(), memory.data_ptr()
    table = array("q", (*addresses, UNITS, *shape, 6, 0, ROWS, 5, *[0] * 7))
    help_with_doubles(table.buffer_info()[0])
    once = sums.clone()
    help_with_doubles(table.buffer_info()[0])
    assert torch.equal(sums, once)
