from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from structure_net.core.unit_kernels import add_sums, sum_rows, sum_runs
from structure_net.core.unit_sums import SUMS, TotalSums, merged, unit_sums


def _expected(values: Tensor) -> Tensor:
    """By torch, in float64. Shape ``(6, units)``."""
    rows = values.double()
    rows = rows if rows.dim() == 2 else rows.movedim(1, 2).reshape(-1, rows.shape[1])
    return torch.stack(
        (
            rows.sum(0),
            rows.square().sum(0),
            (rows > 0).double().sum(0),
            rows.abs().sum(0),
            rows.amin(0),
            rows.amax(0),
        )
    )


def _drawn(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize(
    "shape",
    [
        (1, 1),
        (3, 7),
        (128, 10),
        (700, 33),
        (5, 16),
        (1, 3, 1),
        (4, 5, 49),
        (2, 3, 5000),
        (90, 2, 64),
    ],
)
def test_one_pass_gives_the_sums_of_torch(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    values = _drawn(*shape, dtype=dtype)
    sums = unit_sums(values)
    assert sums is not None
    # Exact but for the order of sums: of at most 5000 numbers of size 1, in float64; in float32
    # 256 lines are summed in single precision, of values up to 5.
    tolerance = 1e-10 if dtype == torch.float64 else 1e-2
    torch.testing.assert_close(sums, _expected(values), rtol=0, atol=tolerance)
    assert len(sums) == len(SUMS)
    assert torch.equal(sums[4:], _expected(values)[4:])


@pytest.mark.parametrize("features_first", [True, False])
def test_values_may_lie_features_first_or_in_rows_that_lie_apart(features_first: bool) -> None:
    values = _drawn(37, 20)
    values = values.T.contiguous().T if features_first else _drawn(37, 25)[:, 2:22]
    sums = unit_sums(values)
    assert sums is not None
    torch.testing.assert_close(sums, _expected(values), rtol=0, atol=1e-10)


def test_sums_of_parts_are_merged_to_those_of_the_whole() -> None:
    values = _drawn(60, 9)
    sums = [part for part in map(unit_sums, values.split(17)) if part is not None]
    assert len(sums) == 4
    torch.testing.assert_close(merged(sums), _expected(values), rtol=0, atol=1e-10)
    assert merged(sums[:1]) is sums[0]


def test_what_the_kernels_do_not_read_is_left_to_others() -> None:
    assert unit_sums(_drawn(3, 8)[:, ::2]) is None
    assert unit_sums(_drawn(3, 4).half()) is None
    assert unit_sums(_drawn(0, 4)) is None


def test_a_value_that_is_no_number_shows_in_the_sum() -> None:
    values = _drawn(40, 3)
    values[5, 1] = torch.nan
    sums = unit_sums(values)
    assert sums is not None
    assert sums[0].isnan().tolist() == [False, True, False]


def test_each_kernel_serves_its_layout() -> None:
    values, zero = torch.tensor([[1.0, -2.0]]).double(), np.float64(0)
    rows, runs, held = (torch.empty(n).double() for n in (12, 12, 96))
    read, write = values.data_ptr(), rows.data_ptr()
    sum_rows(zero, 0.0, (read, write, held.data_ptr()), (1, 2, 2))
    sum_runs(zero, 0.0, (read, runs.data_ptr()), (1, 2, 1), (0, 1), (0, 2))
    expected = [1, -2, 1, 4, 1, 0, 1, 2, 1, -2, 1, -2]
    assert rows.tolist() == runs.tolist() == expected


def test_many_lines_keep_their_precision_and_their_extrema() -> None:
    values = 3 + _drawn(1000, 40, dtype=torch.float32)
    sums = unit_sums(values)
    assert sums is not None
    # Lines of 256 values of size 3 are summed in single precision: 768 with 24 digits.
    torch.testing.assert_close(sums[0], values.double().sum(0), rtol=1e-6, atol=0)
    assert torch.equal(sums[4:], torch.stack((values.amin(0), values.amax(0))).double())


def test_sums_are_added_up_in_place() -> None:
    parts = _drawn(60, 9).split(20)
    found = [part for part in map(unit_sums, parts) if part is not None]
    total = TotalSums()
    for sums in found:
        total.add(sums)
    torch.testing.assert_close(total.sums(), _expected(_drawn(60, 9)), rtol=0, atol=1e-10)
    assert torch.equal(found[0], unit_sums(parts[0]))  # type: ignore[arg-type]  # not None


def test_sums_of_other_types_are_added_up_too() -> None:
    total = TotalSums()
    for part in _drawn(400, 3).split(10):
        total.add(_expected(part).float())
    # 40 sums of 10 values of size 1, in single precision.
    torch.testing.assert_close(total.sums().double(), _expected(_drawn(400, 3)), rtol=0, atol=1e-3)


def test_a_kernel_adds_sums() -> None:
    total, more = torch.tensor([[1.0, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, -7]]).double()
    add_sums(np.float64(0), (more.data_ptr(), total.data_ptr()), 1)
    assert total.tolist() == [2, 4, 6, 8, 5, 6]
