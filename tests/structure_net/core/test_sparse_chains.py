"""Chains of products give the bits of their layers whatever the numbers and the ReLUs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from structure_net.core import StandardSparseLayer
from structure_net.core.sparse_chains import Link, Links, chained
from tests.chains import derived, network, one_by_one, random, same

KINDS = [torch.float32, torch.float64]

pytestmark = pytest.mark.usefixtures("live_storage")


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
    links = Links(Link(one.index, relu) for one, relu in zip(layers, rectified, strict=True))

    def one_by_one(x: Tensor) -> Tensor:
        for layer, relu in zip(layers, rectified, strict=True):
            x = layer(x).relu() if relu else layer(x)
        return x

    wanted = derived(one_by_one, model, inputs)
    found = derived(lambda x: chained(x, list(model.parameters()), links), model, inputs)
    assert same(found, wanted)
