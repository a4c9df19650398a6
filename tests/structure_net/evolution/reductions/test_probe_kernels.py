from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch

from structure_net.evolution.reductions.probe_kernels import copy_rows, keep_least


def _kept(batches: Sequence[npt.NDArray[np.float64]], room: int) -> tuple[list[float], list[int]]:
    """The numbers that stay, and those of all samples that stand at the places in the end."""
    kept, state = np.full(room, np.inf), np.full((2, room), -1)
    held, seen, owners = 0, 0, [-1] * room
    for drawn in batches:
        found = np.empty((2, len(drawn)), np.int64)
        count = keep_least(kept, state, held, drawn, found)
        held = min(room, held + len(drawn))
        for row, place in found[:, :count].T.tolist():
            owners[place] = seen + row
        seen += len(drawn)
        assert (state[1] == -1).all()
    return kept[:held].tolist(), owners[:held]


@pytest.mark.parametrize("room", [1, 2, 7, 40, 100])
def test_the_least_numbers_stay_wherever_they_come(room: int) -> None:
    generator = np.random.default_rng(0)
    batches = [generator.random(size) for size in (13, 1, 0, 29, 13)]
    numbers = np.concatenate(batches)
    kept, owners = _kept(batches, room)
    assert sorted(kept) == np.sort(numbers)[:room].tolist()
    assert kept == numbers[owners].tolist()


def test_numbers_that_fall_and_that_rise_are_kept_alike() -> None:
    rising = np.arange(20.0)
    assert sorted(_kept([rising], 6)[0]) == list(range(6))
    assert sorted(_kept([rising[::-1].copy()], 6)[0]) == list(range(6))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int32, torch.int64])
@pytest.mark.parametrize("turned", [False, True])
def test_rows_are_copied_from_any_layout(dtype: torch.dtype, turned: bool) -> None:
    read = torch.arange(9 * 37).reshape(9, 37).to(dtype)
    read = read.T.contiguous().T if turned else read
    rows, places = torch.tensor([8, 0, 3]), torch.tensor([1, 4, 0])
    zero = np.float32(0) if dtype.itemsize == 4 else np.float64(0)
    expected = torch.zeros(5, 37, dtype=dtype)
    expected[places] = read[rows]
    for write in (torch.zeros_like(expected), torch.zeros(37, 5, dtype=dtype).t()):
        tensors = tuple(one.data_ptr() for one in (read, write, rows, places))
        copy_rows(zero, tensors, (3, 37), (*read.stride(), *write.stride()))
        assert torch.equal(write, expected)
