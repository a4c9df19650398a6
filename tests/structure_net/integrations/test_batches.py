"""Looking at a loop's data takes nothing away from the loop."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from structure_net.integrations import LoopBatches
from structure_net.integrations.batches import pair

DATA = TensorDataset(torch.arange(10), torch.arange(10))


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    loader = DataLoader(DATA, 4, shuffle=True)
    state = torch.get_rng_state()
    orders = []
    for seed, epoch in [(0, 0), (0, 0), (0, 1), (1, 1)]:
        data = LoopBatches(loader, pair, shuffle=True, seed=seed)
        data.set_epoch(epoch)
        orders.append(torch.cat([inputs for inputs, _ in data]).tolist())
    assert orders[0] == orders[1] != orders[2] != orders[3]
    assert sorted(orders[0]) == list(range(10))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_loops_own_generator_is_left_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    data = LoopBatches(DataLoader(DATA, 4, shuffle=True, generator=generator), pair, shuffle=True)
    assert len(list(data)) == len(data) == 3
    assert torch.equal(generator.get_state(), state)


def test_held_out_data_keep_their_order() -> None:
    data = LoopBatches(DataLoader(DATA, 4), pair, shuffle=False)
    assert torch.cat([inputs for inputs, _ in data]).tolist() == list(range(10))


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    """Three samples."""

    def __iter__(self):  # type: ignore[no-untyped-def]
        yield from ((torch.zeros(2), torch.tensor(0)) for _ in range(3))


@pytest.mark.parametrize(
    "loader", [DataLoader(Stream(), 2), [[torch.zeros(2), torch.zeros(2)]] * 2]
)
def test_what_has_no_order_of_its_own_is_iterated(loader: object) -> None:
    data = LoopBatches(loader, pair, shuffle=True)  # type: ignore[arg-type]
    assert len(list(data)) == len(list(data)) == 2


def test_a_loader_of_unknown_length_says_so() -> None:
    with pytest.raises(TypeError, match="how many batches"):
        len(LoopBatches(iter(()), pair, shuffle=False))


def test_a_batch_that_is_no_pair_names_the_way_out() -> None:
    with pytest.raises(TypeError, match="as_pair"):
        pair({"x": 1})
