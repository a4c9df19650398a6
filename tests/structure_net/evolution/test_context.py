from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.optim import Adam

from structure_net.evolution import EpochRecord, NetworkContext
from structure_net.surgery.entries import EventEntry


class Ordered:
    """A loader whose order is a function of the epoch."""

    def __init__(self) -> None:
        self.epochs: list[int] = []

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def __iter__(self):  # type: ignore[no-untyped-def]
        yield torch.zeros(4, 12), torch.zeros(4, dtype=torch.int64)


def test_a_fork_shares_nothing_that_changes(context: NetworkContext) -> None:
    optimizer = Adam(context.network.parameters())
    context = replace(context, optimizer=optimizer)
    fork = context.fork()
    assert fork.optimizer is not None
    held = {id(p) for group in fork.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in fork.network.parameters()}
    assert held.isdisjoint({id(p) for p in context.network.parameters()})
    fork.history.append(EpochRecord(1, 0, 1, {}, 0, 0))
    fork.journal.append(EventEntry("note"))
    assert (len(context.history), len(context.journal)) == (0, 0)


def test_a_loader_with_orders_is_told_the_age_of_the_network(context: NetworkContext) -> None:
    loader = Ordered()
    context = replace(context, data_loader=loader)
    list(context.train_batches())
    context.history.append(EpochRecord(1, 0, 1, {}, 0, 0))
    list(context.train_batches())
    assert loader.epochs == [0, 1]


def test_an_example_comes_from_the_loader_unless_it_is_given(context: NetworkContext) -> None:
    assert context.with_example().example.shape == (2, 12)
    given = replace(context, example=torch.zeros(5, 12))
    assert given.with_example() is given
    with pytest.raises(ValueError, match="pass `example`"):
        replace(context, data_loader=[]).with_example()
