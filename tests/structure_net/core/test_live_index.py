"""An index says the same by rows as by columns, and nothing wrong."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from structure_net.core import StandardSparseLayer, assign
from structure_net.core.live_index import LiveIndex
from structure_net.core.products import sparse_linear
from structure_net.core.sparsity import SparsePattern

MASK = torch.rand(6, 9, generator=torch.Generator().manual_seed(0)) < 0.3
NAMES = ("offsets", "columns", "column_offsets", "rows", "order")


def parts(index: LiveIndex) -> dict[str, Tensor]:
    return {name: getattr(index, name) for name in NAMES}


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    density=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_rows_and_columns_say_the_same(shape: tuple[int, int], density: float, seed: int) -> None:
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) <= density
    pattern = SparsePattern.from_mask(mask)
    index = LiveIndex.from_pattern(pattern)
    assert len(index) == index.count == len(pattern)
    assert index.pattern == pattern
    assert torch.equal(index.row_order, pattern.rows)
    turned = SparsePattern.from_mask(mask.T)
    assert torch.equal(index.rows.long(), turned.columns)
    assert torch.equal(index.columns[index.order.long()].long(), turned.rows)
    assert torch.equal(index.column_offsets, LiveIndex.from_pattern(turned).offsets)


def test_an_index_is_made_of_what_a_layer_stores() -> None:
    index = LiveIndex.from_pattern(SparsePattern.from_mask(MASK))
    again = LiveIndex.from_rows(index.offsets, index.columns, index.shape)
    for one, other in zip(parts(index).values(), parts(again).values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_tensors_that_point_outside_are_refused(name: str) -> None:
    index = LiveIndex.from_pattern(SparsePattern.from_mask(MASK))
    wrong = parts(index)
    for place in (-1, 1000):
        wrong[name] = getattr(index, name).clone()
        wrong[name][-1] = place
        with pytest.raises(ValueError, match=f"^{name} must"):
            LiveIndex(**wrong, shape=index.shape)


@pytest.mark.parametrize("name", NAMES)
def test_tensors_of_another_form_are_refused(name: str) -> None:
    index = LiveIndex.from_pattern(SparsePattern.from_mask(MASK))
    for change in (Tensor.long, lambda one: one[1:], lambda one: one.repeat(2)[::2]):
        with pytest.raises(ValueError, match="must be"):
            LiveIndex(**{**parts(index), name: change(getattr(index, name))}, shape=index.shape)


def test_an_index_is_copied_and_pickled() -> None:
    index = LiveIndex.from_pattern(SparsePattern.from_mask(MASK))
    inputs, values = torch.ones(2, 9), torch.ones(len(index))
    wanted = sparse_linear(inputs, values, None, index)
    for other in (copy.deepcopy(index), pickle.loads(pickle.dumps(index))):
        assert torch.equal(sparse_linear(inputs, values, None, other), wanted)
        assert other.by_row[0] != index.by_row[0]


def test_an_index_keeps_its_memory_when_a_buffer_gets_other_data() -> None:
    index = LiveIndex.from_pattern(SparsePattern.from_mask(MASK))
    inputs, values = torch.ones(2, 9), torch.ones(len(index))
    wanted = sparse_linear(inputs, values, None, index)
    index.columns.data = torch.zeros(3, dtype=torch.int32)
    assert torch.equal(sparse_linear(inputs, values, None, index), wanted)


def test_a_trusted_index_is_the_same() -> None:
    index = LiveIndex.from_pattern(SparsePattern.from_mask(MASK))
    trusted = LiveIndex.unchecked(list(parts(index).values()), index.shape)
    assert trusted.plain
    assert (trusted.by_row, trusted.by_column) == (index.by_row, index.by_column)


def test_tensors_that_say_different_things_by_rows_and_by_columns_are_refused() -> None:
    index = LiveIndex.from_pattern(SparsePattern.from_mask(MASK))
    other = LiveIndex.from_pattern(SparsePattern.from_mask(MASK.flip(1)))
    for name in NAMES:
        mixed = {**parts(index), name: getattr(other, name)}
        if not torch.equal(mixed[name], getattr(index, name)):
            with pytest.raises(ValueError, match="Write connections by surgery"):
                LiveIndex(**mixed, shape=index.shape)
    twice = index.columns.clone()
    twice[1] = twice[0]
    with pytest.raises(ValueError, match="each place once"):
        LiveIndex(**{**parts(index), "columns": twice}, shape=index.shape)


def test_buffers_that_are_written_by_hand_are_refused_at_the_next_product() -> None:
    pattern = SparsePattern.from_mask(MASK)
    layer = StandardSparseLayer(9, 6, pattern=pattern, generator=torch.Generator().manual_seed(0))
    assign(layer, layer.stored("live"))
    inputs = torch.ones(2, 9)
    wanted = layer(inputs)
    with torch.no_grad():
        layer.columns.copy_(layer.columns.flip(0).sort().values)
    with pytest.raises(ValueError, match="must hold each place once"):
        layer(inputs)
    with torch.no_grad():
        layer.columns.copy_(pattern.columns)
    assert torch.equal(layer(inputs), wanted)


def test_a_state_dict_of_another_pattern_is_no_set_of_buffers() -> None:
    # It lacks what follows from the others: gradients would be those of no layer at all.
    layers = []
    for mask in (MASK, MASK.flip(1)):
        pattern, draw = SparsePattern.from_mask(mask), torch.Generator().manual_seed(0)
        layers.append(StandardSparseLayer(9, 6, pattern=pattern, generator=draw))
        assign(layers[-1], layers[-1].stored("live"))
    inputs = torch.ones(2, 9)
    with pytest.raises(ValueError, match="of which a state dict holds the first three"):
        torch.func.functional_call(layers[0], dict(layers[1].state_dict()), (inputs,))
    whole = {**dict(layers[1].named_parameters()), **dict(layers[1].named_buffers())}
    outputs = torch.func.functional_call(layers[0], whole, (inputs,))
    assert torch.equal(outputs, layers[1](inputs))


def test_flat_places_are_those_of_the_pattern_and_serve_a_backward_pass_after_inference() -> None:
    index = LiveIndex.from_pattern(SparsePattern.from_pairs([(0, 1), (2, 0), (2, 2)], (3, 4)))
    with torch.inference_mode():
        assert index.flat.tolist() == [1, 8, 10]
    assert not index.flat.is_inference()
    assert index.flat is index.flat


def test_an_index_on_another_device_has_no_addresses_for_the_kernels() -> None:
    index = LiveIndex.from_pattern(SparsePattern.from_pairs([(0, 1)], (3, 4)))
    there = LiveIndex.unchecked([one.to("meta") for one in index.tensors], index.shape)
    assert there.by_row == there.by_column == ()
    assert there.count == 1
