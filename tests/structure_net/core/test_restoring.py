"""What sparse layers make of states that are loaded, and of tensors that somebody else wrote."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from structure_net.core import SparsePattern, StandardSparseLayer
from structure_net.core.crossover import Storage, set_crossover
from structure_net.core.optimizers import Adam
from structure_net.core.stale_moments import STALE_MOMENTS, StaleMoments

STORAGES: tuple[Storage, ...] = ("live", "masked")
INPUTS = torch.linspace(-1, 1, 24).view(3, 8)


def layer(storage: Storage, *, seed: int = 0) -> StandardSparseLayer:
    """A quarter of the connections between 8 and 6 units, in one storage."""
    set_crossover(storage)
    try:
        generator = torch.Generator().manual_seed(seed)
        return StandardSparseLayer(8, 6, density=0.25, generator=generator)
    finally:
        set_crossover(None)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_layer_without_memory_takes_over_the_tensors_that_are_assigned(storage: Storage) -> None:
    saved = layer(storage)
    empty = layer("live", seed=1).to("meta")
    empty.load_state_dict(saved.state_dict(), assign=True)
    assert torch.equal(empty(INPUTS), saved(INPUTS))
    assert {tensor.device.type for tensor in empty.buffers()} == {"cpu"}
    moved = copy.deepcopy(empty).double()
    assert torch.allclose(moved(INPUTS.double()), saved(INPUTS).double(), atol=1e-6)


def _twice(columns: Tensor, start: int) -> None:
    columns[start + 1] = columns[start]


def _swapped(columns: Tensor, start: int) -> None:
    columns[start : start + 2] = columns[start : start + 2].flip(0)


@pytest.mark.parametrize("spoil", [_twice, _swapped])
def test_lists_that_are_no_pattern_are_refused(spoil: Callable[[Tensor, int], None]) -> None:
    saved = {name: value.clone() for name, value in layer("live").state_dict().items()}
    offsets, columns = saved["offsets"], saved["columns"]
    spoil(columns, int(offsets[:-1][offsets.diff() > 1][0]))
    counts = torch.bincount(columns, minlength=8)
    saved["column_offsets"] = torch.cat([counts.new_zeros(1), counts.cumsum(0)]).int()
    with pytest.raises(RuntimeError, match="columns must ascend within each row"):
        layer("live", seed=1).load_state_dict(saved)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_gradient_goes_with_the_connections_it_belongs_to(storage: Storage) -> None:
    own, other = layer(storage), layer(storage, seed=1)
    own(INPUTS).sum().backward()
    gradient = own.weight.grad
    own.load_state_dict(own.state_dict())
    assert own.weight.grad is gradient
    own.load_state_dict(other.state_dict())
    assert own.weight.grad is None


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("shape", [(5,), (7, 8), (8, 6)])
def test_a_weight_of_another_form_is_refused(storage: Storage, shape: tuple[int, ...]) -> None:
    own = layer(storage)
    own.weight = nn.Parameter(torch.ones(shape))
    with pytest.raises(ValueError, match=r"must have the shape|no list of weights"):
        own(INPUTS)
    with (
        torch.no_grad(),
        pytest.raises(ValueError, match=r"must have the shape|no list of weights"),
    ):
        own(INPUTS)


@pytest.mark.parametrize("storage", STORAGES)
def test_shapes_are_known_without_memory(storage: Storage) -> None:
    own = layer(storage).to("meta")
    outputs = own(INPUTS.to("meta"))
    outputs.sum().backward()
    assert outputs.shape == (3, 6)
    assert own.weight.grad is not None
    assert own.weight.grad.shape == own.weight.shape


@pytest.mark.parametrize("storage", STORAGES)
def test_the_index_stands_for_the_pattern_in_either_storage(storage: Storage) -> None:
    own = layer(storage)
    assert own.index.pattern == own.pattern


@pytest.mark.parametrize("load_again", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
        lambda p: torch.optim.Adam(p, 0.1),
        lambda p: Adam(p, 0.1),
        lambda p: torch.optim.RMSprop(p, 0.1, momentum=0.9, centered=True),
    ],
    ids=["SGD", "torch's Adam", "Adam", "RMSprop"],
)
def test_moments_of_another_pattern_move_no_weight_off_the_one_that_was_loaded(
    make: Callable[..., torch.optim.Optimizer], load_again: bool
) -> None:
    own, other = layer("masked"), layer("masked", seed=1)
    optimizer = make(own.parameters())
    for _ in range(3):
        own(INPUTS).square().sum().backward()
        optimizer.step()
    own.load_state_dict(other.state_dict())
    stale = copy.deepcopy(optimizer.state_dict())
    for _ in range(3):
        optimizer.zero_grad()
        own(INPUTS).square().sum().backward()
        optimizer.step()
        if load_again:
            optimizer.load_state_dict(copy.deepcopy(stale))
    assert own.pattern == other.pattern
    assert own.off_pattern() == 0
    kept = own.pattern.mask() & layer("masked").pattern.mask()
    moved = own.live_weights.detach() != other.live_weights.detach()
    assert bool(kept.any())
    assert bool(moved.any())
    assert isinstance(STALE_MOMENTS, StaleMoments)


def test_a_state_without_connections_is_loaded() -> None:
    set_crossover("live")
    none = torch.zeros(0, dtype=torch.int64)
    empty = StandardSparseLayer(8, 6, pattern=SparsePattern(none, none, (6, 8)))
    set_crossover(None)
    own = layer("masked")
    own.load_state_dict(empty.state_dict())
    assert own.connections == 0
    assert torch.equal(own(INPUTS), torch.zeros(3, 6))


def test_a_mask_that_was_lost_is_refused_and_an_empty_layer_is_not() -> None:
    saved = {name: value.clone() for name, value in layer("masked").state_dict().items()}
    saved["mask"].zero_()
    own = layer("masked", seed=1)
    with pytest.raises(RuntimeError, match="mask has no connection, but 12 of the weights are not"):
        own.load_state_dict(saved)
    saved["weight"].zero_()
    own.load_state_dict(saved)
    assert own.connections == 0
    assert own.bias is not None
    assert torch.equal(own(INPUTS), own.bias.expand(3, 6))
