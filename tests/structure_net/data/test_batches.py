"""Batches in memory: every sample once, in an order that depends on seed and epoch alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from structure_net.data import TensorBatches
from structure_net.data.batches import order_of, orders_of
from tests.elsewhere import away


def numbered(count: int, batch_size: int, **options: object) -> TensorBatches:
    numbers = torch.arange(count)
    return TensorBatches(numbers.to(torch.float64)[:, None], numbers, batch_size, **options)


def seen(batches: TensorBatches) -> list[int]:
    return torch.cat([targets for _, targets in batches]).tolist()


@given(count=st.integers(1, 60), batch_size=st.integers(1, 70), shuffle=st.booleans())
def test_an_epoch_shows_every_sample_once(count: int, batch_size: int, shuffle: bool) -> None:
    batches = numbered(count, batch_size, shuffle=shuffle)
    assert sorted(seen(batches)) == list(range(count))


@given(count=st.integers(1, 60), batch_size=st.integers(1, 70), drop_last=st.booleans())
def test_the_length_is_the_number_of_batches(count: int, batch_size: int, drop_last: bool) -> None:
    batches = numbered(count, batch_size, drop_last=drop_last)
    sizes = [len(targets) for _, targets in batches]
    assert len(sizes) == len(batches)
    assert all(size == batch_size for size in sizes[:-1])
    assert not drop_last or all(size == batch_size for size in sizes)


def test_inputs_and_targets_stay_together() -> None:
    for inputs, targets in numbered(37, 8, shuffle=True, seed=3):
        assert torch.equal(inputs[:, 0].to(torch.int64), targets)


def test_without_shuffling_the_batches_are_those_of_a_data_loader() -> None:
    ours = numbered(37, 8)
    theirs = DataLoader(TensorDataset(ours.inputs, ours.targets), batch_size=8)
    for (x, y), (u, v) in zip(ours, theirs, strict=True):
        assert torch.equal(x, u)
        assert torch.equal(y, v)


def test_orders_of_several_epochs_are_those_of_each() -> None:
    orders = orders_of(100, 7, range(2, 5))
    for order, epoch in zip(orders, range(2, 5), strict=True):
        assert torch.equal(order, order_of(100, 7, epoch))
        assert torch.equal(order, numbered(100, 10, shuffle=True, seed=7).order(epoch))
    assert orders_of(100, 7, range(0)).shape == (0, 100)


def test_each_epoch_has_an_order_of_its_own() -> None:
    batches = numbered(100, 10, shuffle=True)
    assert seen(batches) != seen(batches)


def test_the_same_seed_gives_the_same_epochs_whatever_was_drawn_before() -> None:
    first = numbered(100, 10, shuffle=True, seed=5)
    expected = [seen(first), seen(first)]
    torch.rand(17)
    second = numbered(100, 7, shuffle=True, seed=5)
    assert [seen(second), seen(second)] == expected


def test_the_global_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    seen(numbered(100, 10, shuffle=True))
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_epoch_can_be_asked_for_by_number() -> None:
    batches = numbered(100, 10, shuffle=True)
    epochs = [seen(batches) for _ in range(3)]
    batches.set_epoch(1)
    assert seen(batches) == epochs[1]
    assert seen(batches) == epochs[2]


def test_an_epoch_that_is_broken_off_does_not_move_the_next() -> None:
    whole, broken = numbered(100, 10, shuffle=True), numbered(100, 10, shuffle=True)
    seen(whole)
    next(iter(broken))
    assert seen(broken) == seen(whole)


def test_seeds_give_different_orders() -> None:
    orders = {
        tuple(numbered(50, 10, shuffle=True, seed=seed).order(0).tolist()) for seed in range(20)
    }
    assert len(orders) == 20


def test_shuffling_prefers_no_position() -> None:
    # Over 4000 epochs of 10 samples a sample's mean position is 4.5 with a standard error of
    # sqrt((100 - 1) / 12 / 4000) = .045; five of them bound the largest of ten.
    batches = numbered(10, 10, shuffle=True)
    places = torch.stack([batches.order(epoch).argsort() for epoch in range(4000)])
    assert (places.double().mean(0) - 4.5).abs().max() < 5 * 0.045


def test_tensors_are_moved_to_the_device_once() -> None:
    inputs, _ = next(iter(numbered(4, 2, device="meta")))
    assert inputs.device.type == "meta"


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="got 3 inputs and 2 targets"):
        TensorBatches(torch.zeros(3, 1), torch.zeros(2), 1)


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1; got 0"):
        numbered(3, 0)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="A seed must be 0 or more; got -1"):
        numbered(3, 1, seed=-1)


def test_it_says_what_it_is_without_its_numbers() -> None:
    assert repr(numbered(3, 2)).startswith("TensorBatches(3 samples, batch_size=2")


@pytest.mark.away
def test_the_order_is_the_same_on_a_device() -> None:
    assert seen(numbered(100, 10, shuffle=True, device=away())) == seen(
        numbered(100, 10, shuffle=True)
    )
