"""Connections are made where there are none, and removed where they are."""

from __future__ import annotations

import pytest
import torch

from structure_net.core import SparseConv2d, SparsePattern, StandardSparseLayer, assign
from structure_net.core.crossover import Storage
from structure_net.core.live import Live
from structure_net.core.live_index import LiveIndex
from structure_net.core.masking import Masked, zero_off
from structure_net.core.pair_edits import (
    Connected,
    places_of,
    refuse_misfit,
    weights_for,
)
from structure_net.core.pairs import columns_of_pairs
from structure_net.core.sparsity import Pairs
from structure_net.core.storage import StoredLayer
from structure_net.errors import SurgeryError

PATTERN = SparsePattern.from_pairs([(0, 1), (2, 0), (2, 3)], (3, 4))
LIVE: Connected = Live(torch.ones(3), LiveIndex.from_pattern(PATTERN))
MASKED: Connected = Masked(PATTERN.mask().float(), PATTERN.mask())
HOLDERS = pytest.mark.parametrize("held", [LIVE, MASKED], ids=("live", "masked"))


def layer_in(storage: Storage, seed: int = 0) -> StoredLayer:
    generator = torch.Generator().manual_seed(seed)
    layer = StandardSparseLayer(40, 30, density=0.1, generator=generator)
    assign(layer, layer.stored(storage))
    return layer


def test_pairs_that_lie_outside_are_refused() -> None:
    assert [one.tolist() for one in places_of([(2, 1)], (3, 4), torch.device("cpu"))] == [[2], [1]]
    with pytest.raises(SurgeryError, match=r"must lie in a layer of shape \(3, 4\); got \(3, 0\)"):
        places_of([(3, 0)], (3, 4), torch.device("cpu"))


def at(*pairs: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    return places_of(pairs, (3, 4), torch.device("cpu"))


@HOLDERS
def test_what_is_there_is_not_made_and_what_is_not_there_is_not_removed(held: Connected) -> None:
    assert (held.located(*at((1, 3), (2, 0))) >= 0).tolist() == [False, True]
    refuse_misfit(held, at((2, 3), (0, 1)), at((1, 3)))
    refuse_misfit(held, at(), at())
    with pytest.raises(SurgeryError, match="unit 2 is connected to input unit 3 already"):
        refuse_misfit(held, at(), at((1, 3), (2, 3)))
    with pytest.raises(SurgeryError, match="unit 1 is not connected to input unit 3"):
        refuse_misfit(held, at((2, 3), (1, 3)), at())
    with pytest.raises(SurgeryError, match="keep at least one"):
        refuse_misfit(held, at(*PATTERN.pairs), at())


@HOLDERS
def test_a_move_may_come_to_what_it_leaves(held: Connected) -> None:
    refuse_misfit(held, at((2, 3), (0, 1)), at((1, 2), (2, 3)))
    for gone in (at((2, 3)), at((0, 1)), at((0, 1), (2, 3))):
        with pytest.raises(SurgeryError, match="unit 2 is connected to input unit 0 already"):
            refuse_misfit(held, gone, at((1, 1), (2, 0)))
    with pytest.raises(SurgeryError, match="unit 1 is not connected to input unit 2"):
        refuse_misfit(held, at((1, 2)), at((1, 2)))


def test_values_fill_kernels_or_are_given_for_each_entry() -> None:
    like = torch.zeros(0, 2, dtype=torch.float64)
    assert weights_for(None, 3, like, (2,)).tolist() == [[0, 0]] * 3
    assert weights_for(torch.tensor([1.0, 2.0]), 2, like, (2,)).tolist() == [[1, 1], [2, 2]]
    with pytest.raises(SurgeryError, match=r"values must have shape \(3,\) or \(3, 2\)"):
        weights_for(torch.zeros(2), 3, like, (2,))


@pytest.mark.parametrize("storage", ["live", "masked"])
def test_places_and_counts_are_those_of_the_pattern(storage: Storage) -> None:
    layer = layer_in(storage)
    pattern = layer.pattern
    assert torch.equal(layer.places, pattern.rows * 40 + pattern.columns)
    assert torch.equal(layer.fan_in(), pattern.fan_in())
    assert torch.equal(layer.fan_out(), pattern.fan_out())
    single = SparseConv2d(3, 4, 2, density=0.4, granularity="weight")
    assign(single, single.stored(storage))
    units = single.pattern.columns // 4
    assert torch.equal(single.fan_out(), torch.bincount(units, minlength=3))


def test_the_index_of_a_layer_whose_connections_moved_is_right() -> None:
    layer = layer_in("live")
    for seed in range(3):
        draw = torch.Generator().manual_seed(seed)
        free = (layer.pattern.mask() == 0).nonzero()
        come = free[torch.randperm(len(free), generator=draw)[:20]]
        assign(layer, layer.disconnected(layer.pattern.pairs[seed::3]))
        layer.disconnected(layer.pattern.pairs[:5])  # is not carried out
        wanted = LiveIndex.from_pattern(layer.pattern)
        for one, other in zip(layer.index.tensors, wanted.tensors, strict=True):
            assert torch.equal(one, other)
        assign(layer, layer.connected(come, torch.ones(len(come))))
        inputs = torch.randn(4, 40, generator=draw)
        dense = torch.nn.functional.linear(inputs, layer.dense_weight(), layer.bias)
        # Sums of at most 40 products, in float32.
        assert torch.allclose(layer(inputs), dense, atol=1e-5)


def test_kernels_go_whatever_their_order_in_memory() -> None:
    layer = SparseConv2d(8, 8, 3, density=0.5, generator=torch.Generator().manual_seed(0))
    assign(layer, layer.stored("masked"))
    layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's
    live, free = layer.pattern.pairs[:3], (~layer.pattern.mask()).nonzero()[:2]
    wanted = layer.dense_weight().detach().clone()
    for row, column in live:
        wanted[row, column] = 0
    assign(layer, layer.moved(live, free))
    assert not wanted.is_contiguous()
    assert torch.equal(layer.dense_weight(), wanted)


def test_weights_off_the_pattern_are_zeroed() -> None:
    weight, mask = torch.ones(3, 4, 2), PATTERN.mask()
    zero_off(weight, mask)
    assert torch.equal(weight, mask[..., None].expand(3, 4, 2).float())
    with pytest.raises(ValueError, match=r"mask must have the shape \(3, 4\) .* got \(4, 3\)"):
        zero_off(weight, mask.T)


@pytest.mark.parametrize("pairs", [[(0, 1), (2, 3)], torch.tensor([[0, 1], [2, 3]])])
def test_pairs_are_read_as_they_are(pairs: Pairs) -> None:
    assert [one.tolist() for one in columns_of_pairs(pairs)] == [[0, 2], [1, 3]]
    with pytest.raises(ValueError, match=r"pairs; got shape \(2,\)"):
        columns_of_pairs(torch.tensor([0, 1]))
