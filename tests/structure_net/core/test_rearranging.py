"""A rearranged layer is what indexing its matrix entry by entry gives."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from structure_net.core import SparseConv2d, StandardSparseLayer, assign
from structure_net.core.storage import StoredLayer

KINDS = st.sampled_from(["linear", "convolution"])
SIZES = st.tuples(st.integers(1, 6), st.integers(1, 6))


def made(kind: str, sizes: tuple[int, int], seed: int) -> StoredLayer:
    generator = torch.Generator().manual_seed(seed)
    density = 0.2 + 0.8 * float(torch.rand((), generator=generator))
    if kind == "linear":
        return StandardSparseLayer(*sizes, density=density, generator=generator).double()
    return SparseConv2d(*sizes, (2, 3), density=density, generator=generator).double()


def maps(size: int, data: st.DataObject, low: int) -> list[int]:
    return data.draw(st.lists(st.integers(low, size - 1), min_size=1, max_size=8))


def picked(matrix: Tensor, dim: int, source: list[int]) -> Tensor:
    lines = [
        torch.zeros_like(matrix.select(dim, 0)) if origin < 0 else matrix.select(dim, origin)
        for origin in source
    ]
    return torch.stack(lines, dim)


def after(layer: StoredLayer, dim: int, source: list[int], new: str = "empty") -> StoredLayer:
    other = copy.deepcopy(layer)
    generator = torch.Generator().manual_seed(7)
    assign(other, layer.reindexed(dim, source, new=new, generator=generator))  # type: ignore[arg-type]
    other.settle()
    return other


@settings(deadline=None, max_examples=60)
@given(KINDS, SIZES, st.integers(0, 99), st.sampled_from([0, 1]), st.data())
def test_old_entries_follow_the_map_and_empty_ones_are_zero(
    kind: str, sizes: tuple[int, int], seed: int, dim: int, data: st.DataObject
) -> None:
    layer = made(kind, sizes, seed)
    source = maps(sizes[1 - dim], data, -1)
    rearranged = after(layer, dim, source)
    weight = picked(layer.dense_weight().detach(), dim, source)
    assert torch.equal(rearranged.dense_weight(), weight)
    assert torch.equal(rearranged.pattern.mask(), picked(layer.pattern.mask(), dim, source))
    state = copy.deepcopy(layer)
    state.fill(torch.rand_like(layer.live_weights))
    (change, *_) = layer.reindexed(dim, source, new="empty")
    carried = copy.deepcopy(rearranged)
    carried.weight.data = change.carry(state.weight.detach())
    expected = picked(state.dense_weight().detach(), dim, source)
    assert torch.equal(carried.dense_weight(), expected)
    assert layer.bias is not None
    assert rearranged.bias is not None
    bias = picked(layer.bias, 0, source) if dim == 0 else layer.bias
    assert torch.equal(rearranged.bias, bias)


@settings(deadline=None, max_examples=60)
@given(KINDS, SIZES, st.integers(0, 99), st.sampled_from([0, 1]), st.data())
def test_two_maps_in_turn_are_their_composition(
    kind: str, sizes: tuple[int, int], seed: int, dim: int, data: st.DataObject
) -> None:
    layer = made(kind, sizes, seed)
    first = maps(sizes[1 - dim], data, 0)
    second = maps(len(first), data, 0)
    turned = after(after(layer, dim, first), dim, second)
    composed = after(layer, dim, [first[i] for i in second])
    assert torch.equal(turned.dense_weight(), composed.dense_weight())
    assert turned.pattern == composed.pattern


@settings(deadline=None, max_examples=60)
@given(KINDS, SIZES, st.integers(0, 99), st.sampled_from([0, 1]), st.integers(1, 5))
def test_to_grow_and_drop_restores_the_layer(
    kind: str, sizes: tuple[int, int], seed: int, dim: int, count: int
) -> None:
    layer, size = made(kind, sizes, seed), sizes[1 - dim]
    for new in ("fresh", "silent", "empty"):
        grown = after(layer, dim, [*range(size), *[-1] * count], new)
        lines = grown.pattern.fan_in() if dim == 0 else grown.pattern.fan_out()
        assert bool((lines[size:] > 0).all()) == (new != "empty")
        restored = after(grown, dim, list(range(size)))
        for key, tensor in layer.state_dict().items():
            assert torch.equal(restored.state_dict()[key], tensor), key


@settings(deadline=None, max_examples=40)
@given(KINDS, SIZES, st.integers(0, 99), st.integers(1, 40))
def test_new_units_are_connected_at_the_layer_s_density(
    kind: str, sizes: tuple[int, int], seed: int, count: int
) -> None:
    layer = made(kind, sizes, seed)
    inputs, outputs = sizes
    grown = after(layer, 0, [*range(outputs), *[-1] * count], "fresh")
    born = len(grown.pattern) - len(layer.pattern)
    assert born == max(count, round(layer.density * count * inputs))


@pytest.mark.usefixtures("live_storage")
def test_inputs_go_from_a_layer_of_more_places_than_int32_has_numbers() -> None:
    layer = StandardSparseLayer(
        50_000, 50_000, density=1e-5, generator=torch.Generator().manual_seed(0)
    )
    before, stays = layer.pattern, layer.pattern.columns >= 100
    other = after(layer, 1, list(range(100, 50_000)))
    assert torch.equal(other.pattern.rows, before.rows[stays])
    assert torch.equal(other.pattern.columns, before.columns[stays] - 100)
    assert torch.equal(other.weight, layer.weight[stays])
