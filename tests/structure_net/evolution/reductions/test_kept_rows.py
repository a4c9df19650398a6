"""Rows that stay are those of the samples that drew the least numbers, in one place each."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from structure_net.evolution.reductions.kept_rows import Least, Moves, Rows


def _kept(batches: list[Tensor], most: int) -> tuple[Rows, Least, torch.Tensor]:
    generator, least, rows, drawn = np.random.default_rng(0), Least(most), Rows(most), []
    for batch in batches:
        drawn.append(generator.random(len(batch)))
        rows.put(batch, least.take(drawn[-1]))
    return rows, least, torch.from_numpy(np.concatenate(drawn))


@pytest.mark.parametrize("most", [3, 12, 40])
@pytest.mark.parametrize("turned", [True, False])
def test_rows_of_the_least_numbers_stay(most: int, turned: bool) -> None:
    whole = torch.arange(30 * 18.0).reshape(30, 18)
    batches = [part.t().contiguous().t() if turned else part for part in whole.split(10)]
    rows, least, drawn = _kept(batches, most)
    order = torch.from_numpy(least.numbers().argsort())
    assert torch.equal(rows.at(order), whole[drawn.argsort()[:most]])


def test_a_row_lies_together_however_batches_lie() -> None:
    rows, _, _ = _kept([torch.ones(10, 4).t().contiguous().t()], 8)
    assert rows.held is not None
    assert rows.held.is_contiguous()


def test_rows_that_are_not_like_those_before_are_refused() -> None:
    rows = Rows(8)
    moves = Moves(torch.tensor([0]), torch.tensor([0]), 1, True)
    rows.put(torch.ones(1, 4), moves)
    assert rows.room(torch.ones(1, 4), 1).shape[1] == 4
    with pytest.raises(ValueError, match=r"must keep its shape .* got \(3,\), torch.float32"):
        rows.room(torch.ones(1, 3), 1)
