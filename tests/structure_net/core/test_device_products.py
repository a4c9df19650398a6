"""Both ways of a product on other devices give what the CPU's kernels give, and its derivatives."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from structure_net.core.device_products import dense_product, rows_product
from structure_net.core.drawing import random_pattern
from structure_net.core.live_index import LiveIndex
from structure_net.core.products import sparse_linear

Product = Callable[[Tensor, Tensor, Tensor | None, LiveIndex], Tensor]
WAYS: dict[str, Product] = {"dense": dense_product, "rows": rows_product}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """PyTorch says once in a process that compressed rows are new to it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def case(
    shape: tuple[int, int], count: int, batch: tuple[int, ...]
) -> tuple[Tensor, Tensor, Tensor, LiveIndex]:
    draw = torch.Generator().manual_seed(0)
    index = LiveIndex.from_pattern(random_pattern(shape, count, draw))
    sizes = (*batch, shape[1]), (count,), (shape[0],)
    inputs, values, bias = (
        torch.randn(size, generator=draw, dtype=torch.float64, requires_grad=True) for size in sizes
    )
    return inputs, values, bias, index


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("shape", "count", "batch"),
    [((30, 40), 100, (7,)), ((5, 9), 1, (1,)), ((9, 5), 45, (2, 3)), ((64, 3), 5, (4,))],
    ids=["sparse", "one", "all", "empty_rows"],
)
def test_product_and_gradients_are_those_of_the_kernels(
    way: str, shape: tuple[int, int], count: int, batch: tuple[int, ...]
) -> None:
    inputs, values, bias, index = case(shape, count, batch)
    factors = (inputs, values, bias)
    found, wanted = WAYS[way](*factors, index), sparse_linear(*factors, index)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)
    gradient = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1)).double()
    pairs = (torch.autograd.grad(one, factors, gradient) for one in (found, wanted))
    for one, other in zip(*pairs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize("way", WAYS)
def test_what_needs_no_gradient_gets_none(way: str) -> None:
    inputs, values, bias, index = case((6, 8), 12, (3,))
    WAYS[way](inputs.detach(), values, None, index).sum().backward()
    WAYS[way](inputs, values.detach(), bias.detach(), index).sum().backward()
    assert values.grad is not None
    assert inputs.grad is not None
    assert bias.grad is None


@pytest.mark.parametrize("way", WAYS)
def test_a_product_is_differentiated_twice_and_for_many_gradients(way: str) -> None:
    inputs, values, bias, index = case((4, 5), 9, (3,))
    product = WAYS[way]
    assert torch.autograd.gradgradcheck(
        lambda x, w, b: product(x, w, b, index), (inputs, values, bias)
    )
    outputs = product(inputs, values, bias, index)
    many = torch.eye(12, dtype=torch.float64).reshape(12, 3, 4)
    found = torch.autograd.grad(outputs, (inputs, values, bias), many, is_grads_batched=True)
    whole = torch.autograd.functional.jacobian(
        lambda x, w, b: sparse_linear(x, w, b, index), (inputs, values, bias)
    )
    for one, other in zip(found, whole, strict=True):
        torch.testing.assert_close(one, other.reshape(one.shape), rtol=0, atol=1e-10)
