"""A data parallel wrapper of a network that was edited is refused until it is made again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from structure_net import create_standard_network
from structure_net.errors import SurgeryError
from structure_net.surgery import AddConnections, AddNeurons, apply, set_storage
from structure_net.surgery.wrappers import Wrappers

INPUTS = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))

needs_gloo = pytest.mark.skipif(not dist.is_gloo_available(), reason="no gloo")


@pytest.fixture
def alone() -> Iterator[None]:
    """A group of one process."""
    dist.init_process_group("gloo", store=vars(dist)["HashStore"](), rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def train(wrapper: nn.Module) -> None:
    for _ in range(2):
        wrapper.zero_grad()
        wrapper(INPUTS).square().mean().backward()
    assert all(parameter.grad is not None for parameter in wrapper.parameters())


@needs_gloo
@pytest.mark.usefixtures("alone")
def test_a_wrapper_is_refused_behind_an_edit_and_works_once_it_is_made_again() -> None:
    network: Any = create_standard_network([6, 5, 3], density=0.5, seed=0)
    wrapper = DistributedDataParallel(network)
    train(wrapper)
    free = (~network.layers[0].pattern.mask()).nonzero()[:1].tolist()
    for change in (
        AddConnections("layers.0", ((free[0][0], free[0][1]),)),
        AddNeurons("layers.0", 2),
    ):
        apply(network, change, INPUTS[:2])
        with pytest.raises(SurgeryError, match=r"Wrap it again on every rank"):
            wrapper(INPUTS)
        wrapper = DistributedDataParallel(wrapper.module)
        train(wrapper)
    set_storage(network, "masked" if network.layers[0].storage == "live" else "live")
    with pytest.raises(SurgeryError, match="was edited since it was wrapped"):
        wrapper(INPUTS)


@needs_gloo
@pytest.mark.usefixtures("alone")
def test_an_edit_that_is_undone_leaves_the_wrapper_as_it_was() -> None:
    network, other = nn.Linear(6, 5), nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2))
    both = nn.Sequential(network, nn.Linear(5, 2))
    wrapper, untouched = DistributedDataParallel(both), DistributedDataParallel(other)
    done = apply(both, AddNeurons("0", 2), INPUTS[:2])
    with pytest.raises(SurgeryError, match="would not share the gradients"):
        wrapper(INPUTS)
    done.undo()
    train(wrapper)
    train(untouched)


def test_what_is_withdrawn_counts_no_more() -> None:
    wrappers, weight = Wrappers(), nn.Parameter(torch.zeros(1))
    wrappers.note(3, [weight])
    wrappers.withdraw(3, [weight])
    assert not wrappers._edits[weight]
