"""Splits by seed: disjoint, whole, stratified, the same every time."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from structure_net.data.splitting import split_indices

labels = st.lists(st.integers(0, 4), min_size=1, max_size=80).map(torch.tensor)
fractions = st.floats(0, 0.9)


@given(targets=labels, fraction=fractions, seed=st.integers(0, 9), stratify=st.booleans())
def test_the_parts_are_disjoint_and_whole(
    targets: Tensor, fraction: float, seed: int, stratify: bool
) -> None:
    stay, held = split_indices(targets, fraction, seed, stratify=stratify)
    assert sorted(torch.cat([stay, held]).tolist()) == list(range(len(targets)))


@given(targets=labels, fraction=fractions, seed=st.integers(0, 9))
def test_a_stratified_split_takes_each_class_in_proportion(
    targets: Tensor, fraction: float, seed: int
) -> None:
    _, held = split_indices(targets, fraction, seed, stratify=True)
    share = round(fraction * len(targets)) / len(targets)
    for label in targets.unique():
        count = int((targets == label).sum())
        taken = int((targets[held] == label).sum())
        assert taken <= count - 1
        assert min(share * count, count - 1) - 1 <= taken <= share * count + 1


def test_shares_of_large_classes_are_exact_to_one_sample() -> None:
    targets = torch.arange(10).repeat_interleave(torch.arange(100, 200, 10))
    _, held = split_indices(targets, 0.1, 0, stratify=True)
    exact = 0.1 * targets.bincount().double()
    assert (targets[held].bincount() - exact).abs().max() < 1
    assert len(held) == round(0.1 * len(targets))


@given(targets=labels, seed=st.integers(0, 9), stratify=st.booleans())
def test_the_same_arguments_give_the_same_split(targets: Tensor, seed: int, stratify: bool) -> None:
    first = split_indices(targets, 0.3, seed, stratify=stratify)
    second = split_indices(targets, 0.3, seed, stratify=stratify)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_split_is_the_same_on_every_machine() -> None:
    _, held = split_indices(torch.arange(20) % 4, 0.25, 7, stratify=True)
    assert held.tolist() == [0, 1, 8, 15, 18]


def test_seeds_choose_differently() -> None:
    targets = torch.arange(100) % 2
    first, second = (split_indices(targets, 0.2, seed, stratify=True)[1] for seed in (0, 1))
    assert not torch.equal(first, second)


def test_no_share_holds_nothing_out() -> None:
    stay, held = split_indices(torch.zeros(5, dtype=torch.int64), 0.0, 0, stratify=True)
    assert (len(stay), len(held)) == (5, 0)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_a_fraction_outside_its_range_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match=r"must be in \[0, 1\)"):
        split_indices(torch.zeros(5), fraction, 0, stratify=False)
