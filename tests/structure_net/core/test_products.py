"""The product with live weights is the product with the dense matrix."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.core.products import LiveIndex, sparse_linear
from structure_net.core.sparsity import SparsePattern

EXACT = 1e-10
"""Sums of some hundred products of order 1 differ by some 1e-14 in float64."""


def patterned(mask: Tensor) -> LiveIndex:
    return LiveIndex.from_pattern(SparsePattern.from_mask(mask))


def dense(mask: Tensor, values: Tensor) -> Tensor:
    places = tuple(mask.nonzero().T)
    return torch.zeros(mask.shape, dtype=values.dtype).index_put(places, values)


def masks(shape: tuple[int, int] = (33, 50)) -> dict[str, Tensor]:
    draw = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    one, empty = torch.zeros(shape, dtype=torch.bool), draw < 0.2
    one[3, 7] = True
    empty[[0, 4, -1]] = False
    empty[:, [0, 9, -1]] = False
    return {
        "thin": draw < 0.03,
        "half": draw < 0.5,
        "all": draw < 2,
        "one": one,
        "none": draw < 0,
        "empty rows and columns": empty,
    }


def compare(mask: Tensor, inputs: Tensor, *, bias: bool = True, tolerance: float = EXACT) -> None:
    """Outputs and all gradients, against the dense product."""
    draw = torch.Generator().manual_seed(2)
    kind = inputs.dtype
    values = torch.randn(int(mask.sum()), dtype=kind, generator=draw, requires_grad=True)
    offset = torch.randn(len(mask), dtype=kind, generator=draw, requires_grad=True)
    inputs = inputs.requires_grad_()
    leaves = (inputs, values, offset) if bias else (inputs, values)
    found = sparse_linear(inputs, values, offset if bias else None, patterned(mask))
    wanted = F.linear(inputs, dense(mask, values), offset if bias else None)
    assert found.shape == wanted.shape
    torch.testing.assert_close(found, wanted, atol=tolerance, rtol=tolerance)
    gradient = torch.randn(wanted.shape, dtype=kind, generator=draw)
    for one, other in zip(
        torch.autograd.grad(found, leaves, gradient),
        torch.autograd.grad(wanted, leaves, gradient),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", list(masks()))
@pytest.mark.parametrize("batch", [0, 1, 2, 7, 8, 16, 37, 130])
def test_outputs_and_gradients_are_those_of_the_dense_product(name: str, batch: int) -> None:
    compare(masks()[name], random(batch, 50))


@pytest.mark.parametrize("batch", [1, 15, 16, 17, 100, 128, 300])
def test_single_precision_differs_by_rounding_only(batch: int) -> None:
    # Sums of up to 300 products of order 1: 300 roundings of 6e-8 each, and some cancellation.
    compare(masks()["half"], random(batch, 50, dtype=torch.float32), tolerance=1e-4)


@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (2, 0), (1, 1), (2, 3, 5)])
def test_any_number_of_leading_dimensions_is_a_batch(lead: tuple[int, ...]) -> None:
    compare(masks()["thin"], random(*lead, 50))


def test_a_layer_without_bias_is_the_product_alone() -> None:
    compare(masks()["half"], random(9, 50), bias=False)


@pytest.mark.parametrize(
    "inputs",
    [
        random(50, 9).t(),
        random(9, 100)[:, ::2],
        random(18, 50)[::2],
        random(4, 50, 3).transpose(1, 2),
        random(1, 50).expand(6, 50),
    ],
    ids=["transposed", "columns", "rows", "channels", "expanded"],
)
def test_inputs_may_lie_in_memory_any_way(inputs: Tensor) -> None:
    compare(masks()["half"], inputs.detach())


def test_weights_and_biases_may_lie_apart_in_memory() -> None:
    index, inputs = patterned(masks()["half"]), random(9, 50)
    apart = [random(2 * size)[::2].requires_grad_() for size in (len(index), 33)]
    close = [one.detach().contiguous().requires_grad_() for one in apart]
    assert not any(one.is_contiguous() for one in apart)
    found, wanted = (sparse_linear(inputs, *leaves, index) for leaves in (apart, close))
    assert torch.equal(found, wanted)
    for one, other in zip(
        torch.autograd.grad(found.square().sum(), apart),
        torch.autograd.grad(wanted.square().sum(), close),
        strict=True,
    ):
        assert torch.equal(one, other)


@settings(max_examples=30)
@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    batch=st.integers(0, 20),
    density=st.floats(0, 1),
    seed=st.integers(0, 2**16),
)
def test_any_pattern_gives_the_dense_product(
    shape: tuple[int, int], batch: int, density: float, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    mask = torch.rand(shape, generator=draw) <= density
    compare(mask, torch.randn(batch, shape[1], dtype=torch.float64, generator=draw))


def test_activations_lie_features_first_from_layer_to_layer() -> None:
    mask = masks()["half"]
    values = random(int(mask.sum()), dtype=torch.float32)
    outputs = sparse_linear(random(9, 50, dtype=torch.float32), values, None, patterned(mask))
    assert outputs.stride() == (1, 9)
    assert F.relu(outputs).stride() == (1, 9)


def test_outputs_may_be_changed_in_place() -> None:
    mask = masks()["half"]
    values = random(int(mask.sum())).requires_grad_()
    inputs = random(9, 50)
    found = F.relu_(sparse_linear(inputs, values, None, patterned(mask)))
    wanted = F.relu(F.linear(inputs, dense(mask, values)))
    (one,) = torch.autograd.grad(found.sum(), values)
    (other,) = torch.autograd.grad(wanted.sum(), values)
    torch.testing.assert_close(one, other, atol=EXACT, rtol=EXACT)


def test_only_what_is_asked_for_gets_a_gradient() -> None:
    mask = masks()["half"]
    index = patterned(mask)
    for which in (0, 1, 2):
        leaves = (random(9, 50), random(len(index)), random(33))
        leaves[which].requires_grad_()
        gradient = random(9, 33)
        sparse_linear(*leaves, index).backward(gradient)
        found = leaves[which].grad
        others = [one.detach() for one in leaves]
        others[which].requires_grad_()
        F.linear(others[0], dense(mask, others[1]), others[2]).backward(gradient)
        assert found is not None
        torch.testing.assert_close(found, others[which].grad, atol=EXACT, rtol=EXACT)
        assert [one.grad is None for one in leaves].count(True) == 2


def test_nan_and_infinity_follow_live_connections_only() -> None:
    mask = masks()["thin"]
    index = patterned(mask)
    inputs, values = random(6, 50), random(len(index)).requires_grad_()
    column = int(index.columns[0])
    inputs[2, column] = float("nan")
    inputs.requires_grad_()
    outputs = sparse_linear(inputs, values, None, index)
    reached = torch.zeros(6, 33, dtype=torch.bool)
    reached[2] = mask[:, column]
    assert torch.equal(outputs.isnan(), reached)
    outputs.backward(torch.ones_like(outputs))
    assert values.grad is not None
    assert torch.equal(values.grad.isnan(), index.columns == column)
    assert inputs.grad is not None
    assert not inputs.grad.isnan().any()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single_and_rounded_once(kind: torch.dtype) -> None:
    mask = masks()["half"]
    inputs, values = random(9, 50).to(kind), random(int(mask.sum())).to(kind).requires_grad_()
    found = sparse_linear(inputs, values, None, patterned(mask))
    wanted = F.linear(inputs.float(), dense(mask, values.detach().float()))
    assert found.dtype == kind
    # One rounding, of the last of 8 or 11 bits.
    torch.testing.assert_close(found.float(), wanted, rtol=2.0**-8, atol=1e-4)
    found.sum().backward()
    assert values.grad is not None
    assert values.grad.dtype == kind


def test_under_autocast_the_result_has_the_type_of_a_linear_layer() -> None:
    mask = masks()["half"]
    inputs, values = random(9, 50).float(), random(int(mask.sum())).float().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = sparse_linear(inputs, values, None, patterned(mask))
        assert found.dtype == F.linear(inputs, dense(mask, values)).dtype
        again = sparse_linear(found[:, :1].expand(9, 50), values, None, patterned(mask))
    again.sum().backward()
    assert values.grad is not None
    assert values.grad.dtype == torch.float32


def test_shapes_and_types_that_do_not_fit_are_refused() -> None:
    mask = masks()["half"]
    index = patterned(mask)
    inputs, values = random(9, 50), random(len(index))
    with pytest.raises(ValueError, match=r"inputs must have the shape \(\*, 50\)"):
        sparse_linear(inputs[:, 1:], values, None, index)
    with pytest.raises(ValueError, match="values must have the shape"):
        sparse_linear(inputs, values[1:], None, index)
    with pytest.raises(ValueError, match=r"bias must have the shape \(33,\)"):
        sparse_linear(inputs, values, random(32), index)
    with pytest.raises(TypeError, match="one floating point type"):
        sparse_linear(inputs, values.float(), None, index)
    with pytest.raises(TypeError, match="one floating point type"):
        sparse_linear(inputs.long(), values.long(), None, index)
    with pytest.raises(TypeError, match="must be on cpu"):
        sparse_linear(inputs.to("meta"), values, None, index)


def test_on_the_meta_device_the_shape_is_known() -> None:
    mask = masks()["half"]
    index = patterned(mask)
    rows = (index.offsets.to("meta"), index.columns.to("meta"))
    columns = (index.column_offsets, index.rows, index.order)
    away = LiveIndex(*rows, *(one.to("meta") for one in columns), index.shape)
    values = nn.Parameter(torch.empty(len(index), device="meta"))
    outputs = sparse_linear(torch.empty(3, 4, 50, device="meta"), values, None, away)
    assert outputs.shape == (3, 4, 33)
    assert outputs.device.type == "meta"


def test_a_default_device_elsewhere_changes_nothing() -> None:
    mask = masks()["half"]
    inputs, values, index = random(9, 50), random(int(mask.sum())), patterned(mask)
    with torch.device("meta"):
        outputs = sparse_linear(inputs, values.requires_grad_(), None, index)
        outputs.sum().backward()
    assert outputs.device.type == "cpu"
