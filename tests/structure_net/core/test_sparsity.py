from __future__ import annotations

import pytest
import torch

from structure_net.core import SparsePattern


def test_pairs_are_sorted_by_row_then_column() -> None:
    pattern = SparsePattern.from_pairs([(1, 0), (0, 2), (0, 1)], (2, 3))
    assert pattern.pairs == ((0, 1), (0, 2), (1, 0))


def test_a_pattern_and_its_mask_are_two_forms_of_one_thing() -> None:
    mask = torch.rand(7, 5, generator=torch.Generator().manual_seed(0)) < 0.4
    pattern = SparsePattern.from_mask(mask)
    assert torch.equal(pattern.mask(), mask)
    assert SparsePattern.from_pairs(pattern.pairs, (7, 5)) == pattern
    assert hash(SparsePattern.from_mask(mask)) == hash(pattern)


def test_patterns_of_other_shape_or_pairs_differ() -> None:
    pattern = SparsePattern.from_pairs([(0, 0)], (2, 2))
    assert pattern != SparsePattern.from_pairs([(0, 0)], (2, 3))
    assert pattern != SparsePattern.from_pairs([(0, 1)], (2, 2))
    assert pattern != "pattern"


def test_fans_count_connections_per_unit() -> None:
    pattern = SparsePattern.from_pairs([(0, 0), (0, 2), (2, 2)], (3, 4))
    assert pattern.fan_in().tolist() == [2, 0, 1]
    assert pattern.fan_out().tolist() == [1, 0, 2, 0]
    assert pattern.density == 3 / 12


def test_a_pattern_may_be_empty_or_full() -> None:
    assert len(SparsePattern.from_pairs([], (3, 2))) == 0
    assert SparsePattern.full((3, 2)).density == 1


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        ([(0, 3)], r"layer of shape \(2, 3\); got \(0, 3\)"),
        ([(-1, 0)], r"got \(-1, 0\)"),
        ([(1, 1), (1, 1)], r"\(1, 1\) is repeated"),
        ([(1, 1, 1)], "pairs must be"),
    ],
)
def test_wrong_pairs_are_refused_by_name(pairs: list[tuple[int, int]], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        SparsePattern.from_pairs(pairs, (2, 3))


def test_unsorted_or_ill_typed_indices_are_refused() -> None:
    with pytest.raises(ValueError, match="distinct and sorted"):
        SparsePattern(torch.tensor([1, 0]), torch.tensor([0, 0]), (2, 2))
    with pytest.raises(ValueError, match="int64"):
        SparsePattern(torch.tensor([0.0]), torch.tensor([0]), (2, 2))
    with pytest.raises(ValueError, match="equally long"):
        SparsePattern(torch.tensor([0, 1]), torch.tensor([0]), (2, 2))
    with pytest.raises(ValueError, match="at least one output"):
        SparsePattern.from_pairs([], (0, 2))
