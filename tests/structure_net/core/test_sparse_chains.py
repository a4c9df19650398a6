"""Chains of products give the bits of their layers whatever the numbers and the ReLUs."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from structure_net.core import StandardNetwork, StandardSparseLayer, create_standard_network
from structure_net.core.sparse_chains import Link, chained

KINDS = [torch.float32, torch.float64]

pytestmark = pytest.mark.usefixtures("live_storage")


def network(dtype: torch.dtype = torch.float64) -> StandardNetwork:
    return create_standard_network([40, 33, 20, 7], density=0.3, seed=0).to(dtype)


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(1))


def one_by_one(model: StandardNetwork, inputs: Tensor) -> Tensor:
    hidden = inputs
    for layer, activation in zip(model.layers, model.activations, strict=False):
        hidden = activation(layer(hidden))
    outputs: Tensor = model.layers[-1](hidden)
    return outputs


def derived(
    run: Callable[[Tensor], Tensor], model: nn.Module, inputs: Tensor
) -> list[Tensor | None]:
    """Outputs and all gradients there are."""
    model.zero_grad()
    inputs.grad = None
    outputs = run(inputs)
    if outputs.requires_grad:
        outputs.backward(random(*outputs.shape, dtype=outputs.dtype))
    return [outputs.detach(), inputs.grad, *(one.grad for one in model.parameters())]


def same(found: list[Tensor | None], wanted: list[Tensor | None]) -> bool:
    return len(found) == len(wanted) and all(
        one is other
        if one is None or other is None
        else one.dtype == other.dtype and torch.equal(one, other)
        for one, other in zip(found, wanted, strict=True)
    )


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_pass_through_a_chain_as_through_its_layers(
    value: float, dtype: torch.dtype
) -> None:
    model, inputs = network(dtype), random(40, 40, dtype=dtype)
    inputs[[3, 37], [5, 20]] = value
    inputs.requires_grad_()
    hidden = model.layers[0](inputs)
    assert not bool(hidden[[3, 37]].isfinite().all())
    assert type(model(inputs).grad_fn).__name__ == "_ChainBackward"
    wanted = derived(lambda x: one_by_one(model, x), model, inputs)
    found = derived(model, model, inputs)
    for one, other in zip(found, wanted, strict=True):
        assert one is not None
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    # A ReLU lets the gradient of a NaN pass, as torch's own does.
    if math.isnan(value):
        assert inputs.grad is not None
        assert bool(inputs.grad[3].any())


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_each_link_has_its_relu_or_none_both_ways(first: bool, second: bool, last: bool) -> None:
    model, inputs = network(), random(37, 40).requires_grad_()
    rectified = (first, second, last)
    layers = [layer for layer in model.layers if isinstance(layer, StandardSparseLayer)]
    links = tuple(Link(one.index, relu) for one, relu in zip(layers, rectified, strict=True))

    def one_by_one(x: Tensor) -> Tensor:
        for layer, relu in zip(layers, rectified, strict=True):
            x = layer(x).relu() if relu else layer(x)
        return x

    wanted = derived(one_by_one, model, inputs)
    found = derived(lambda x: chained(x, list(model.parameters()), links), model, inputs)
    assert same(found, wanted)
