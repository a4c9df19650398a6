"""The derivatives of a bilinear map agree with autograd's, for each of its three maps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from structure_net.core.bilinear import Kind, gradients_of, one_by_one, tangent_of

SHAPES: dict[Kind, tuple[tuple[int, int], tuple[int, int]]] = {
    "outputs": ((5, 3), (4, 3)),
    "inputs": ((5, 4), (4, 3)),
    "values": ((5, 4), (5, 3)),
}


def product(kind: Kind, first: Tensor, second: Tensor) -> Tensor:
    """A dense layer's three products: ``x W^T``, ``g W`` and ``g^T x``."""
    if kind == "outputs":
        return first @ second.T
    return first @ second if kind == "inputs" else first.T @ second


def drawn(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(len(shape) + shape[0])
    return torch.randn(shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("kind", SHAPES)
def test_gradients_and_tangents_are_those_of_autograd(kind: Kind) -> None:
    first, second = (drawn(*shape).requires_grad_() for shape in SHAPES[kind])
    result = product(kind, first, second)
    gradient = drawn(*result.shape)
    expected = torch.autograd.grad(result, (first, second), gradient)
    found = [make() for make in gradients_of(product, kind, (first, second), gradient)]
    torch.testing.assert_close(found, list(expected), rtol=0, atol=1e-12)

    a, b = drawn(*first.shape), drawn(*second.shape)
    # Exact, since the map is bilinear: all of the difference that is not of second order.
    change = product(kind, first + a, second + b) - result - product(kind, a, b)
    tangent = tangent_of(product, kind, (first, second), (a, b))
    torch.testing.assert_close(tangent, change, rtol=0, atol=1e-12)
    assert tangent_of(product, kind, (first, second), (None, None)) is None


@pytest.mark.parametrize("kind", SHAPES)
def test_pairs_are_multiplied_one_by_one(kind: Kind) -> None:
    one, other = SHAPES[kind]
    many, shared = drawn(one[0], 6, one[1]), drawn(*other)
    found = one_by_one(product, kind, (many, shared), (1, None), 6)
    expected = [product(kind, many[:, place], shared) for place in range(6)]
    torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=0)
