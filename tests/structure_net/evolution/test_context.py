from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Adam
from torch.utils.data import DataLoader, TensorDataset

from structure_net.evolution import EpochRecord, NetworkContext
from structure_net.surgery import AddNeurons, apply
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


def test_a_fork_takes_along_an_optimizer_that_the_edits_were_not_told_of(
    context: NetworkContext,
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = Adam(network.parameters())
    inputs, targets = next(iter(context.data_loader))
    context = replace(context, network=network, optimizer=optimizer)

    def step(of: NetworkContext) -> None:
        assert of.optimizer is not None
        of.optimizer.zero_grad()
        of.loss(of.network(inputs), targets).backward()
        of.optimizer.step()

    step(context)
    apply(network, AddNeurons("0", 2), inputs)
    fork = context.fork()
    step(fork)
    step(context)
    for ours, theirs in zip(network.parameters(), fork.network.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_an_example_is_taken_without_touching_the_random_state(context: NetworkContext) -> None:
    rows = TensorDataset(torch.rand(8, 12), torch.zeros(8, dtype=torch.int64))
    shuffling = replace(context, data_loader=DataLoader(rows, 4, shuffle=True))
    before = torch.get_rng_state()
    shuffling.with_example()
    assert torch.equal(torch.get_rng_state(), before)


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


def test_what_is_no_network_or_no_loader_is_refused() -> None:
    with pytest.raises(TypeError, match=r"network must be a torch\.nn\.Module; got str"):
        NetworkContext("x", [])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"data_loader must be iterable.*got int"):
        NetworkContext(nn.Linear(2, 2), 3)  # type: ignore[arg-type]


def test_a_spent_loader_is_told_what_a_loader_must_be(context: NetworkContext) -> None:
    spent = replace(context, data_loader=iter(()))
    with pytest.raises(ValueError, match="can be iterated again and again"):
        spent.with_example()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": "mse"}, "loss must be a function of output and targets"),
        ({"optimizer": Adam}, "optimizer must be a torch.optim.Optimizer.* got the class Adam"),
    ],
)
def test_parts_of_the_wrong_kind_are_refused(
    context: NetworkContext, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        replace(context, **given)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_the_machine_lacks_is_refused(context: NetworkContext) -> None:
    with pytest.raises(ValueError, match="torch finds no CUDA on this machine"):
        replace(context, device="cuda")
