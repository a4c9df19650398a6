"""Whoever differentiates the product with live weights, and however often, is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves

from structure_net.core.products import LiveIndex, sparse_linear
from structure_net.core.sparse_gradients import product
from structure_net.core.sparsity import SparsePattern

# torch's own forward mode compiles some of its formulas in a way that torch deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

EXACT = 1e-10
SHAPE = (5, 7)
MASK = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0)) < 0.4
INDEX = LiveIndex.from_pattern(SparsePattern.from_mask(MASK))
Function = Callable[[Tensor, Tensor, Tensor], Tensor]


def sparse(inputs: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    return sparse_linear(inputs, values, bias, INDEX)


def dense(inputs: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    matrix = torch.zeros(SHAPE, dtype=values.dtype).index_put(tuple(MASK.nonzero().T), values)
    return F.linear(inputs, matrix, bias)


def arguments(*lead: int) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    sizes = ((*lead, SHAPE[1]), (len(INDEX),), SHAPE[:1])
    inputs, values, bias = (
        torch.randn(size, dtype=torch.float64, generator=draw) for size in sizes
    )
    return inputs, values, bias


def summed(function: Function) -> Function:
    return lambda *args: function(*args).sin().sum()


@pytest.mark.parametrize("lead", [(), (1,), (3,), (2, 2), (17,)])
def test_first_derivatives_are_those_of_differences(lead: tuple[int, ...]) -> None:
    leaves = tuple(one.requires_grad_() for one in arguments(*lead))
    assert torch.autograd.gradcheck(
        sparse, leaves, check_forward_ad=True, check_batched_grad=True, fast_mode=len(lead) == 1
    )


@pytest.mark.parametrize("lead", [(), (1,), (3,), (2, 2)])
def test_second_derivatives_are_those_of_differences(lead: tuple[int, ...]) -> None:
    leaves = tuple(one.requires_grad_() for one in arguments(*lead))
    assert torch.autograd.gradgradcheck(
        sparse, leaves, check_fwd_over_rev=True, check_batched_grad=True, fast_mode=True
    )


def along(function: Function, *args: Tensor) -> Any:
    return jvp(function, args, tuple(torch.ones_like(one) for one in args))


def across(function: Function, *args: Tensor) -> Any:
    outputs, back = vjp(function, *args)
    return back(torch.ones_like(outputs))


TRANSFORMS: dict[str, Callable[[Function], Callable[..., Any]]] = {
    "grad": lambda function: grad(summed(function), argnums=(0, 1, 2)),
    "jvp": lambda function: lambda *args: along(function, *args),
    "vjp": lambda function: lambda *args: across(function, *args),
    "jacfwd": lambda function: jacfwd(function, argnums=(0, 1, 2)),
    "jacrev": lambda function: jacrev(function, argnums=(0, 1, 2)),
    "hessian": lambda function: hessian(summed(function), argnums=(0, 1)),
    "over inputs": lambda function: vmap(function, in_dims=(0, None, None)),
    "over columns of inputs": lambda function: (
        lambda x, v, b: vmap(function, (1, None, None), 1)(torch.stack([x, 2 * x], 1), v, b)
    ),
    "over weights": lambda function: (
        lambda x, v, b: vmap(function, (None, 0, None))(x, torch.stack([v, 2 * v]), b)
    ),
    "over weights and biases": lambda function: (
        lambda x, v, b: vmap(function, (None, 0, 1))(
            x, torch.stack([v, -v]), torch.stack([b, 2 * b], 1)
        )
    ),
    "over all": lambda function: (
        lambda *args: vmap(function)(*(torch.stack([one, one + 1]) for one in args))
    ),
    "twice": lambda function: (
        lambda x, v, b: vmap(vmap(function, (0, None, None)), (0, None, None))(x[None], v, b)
    ),
    "gradients of samples": lambda function: vmap(grad(summed(function), (0, 1)), (0, None, None)),
}


@pytest.mark.parametrize("name", list(TRANSFORMS))
def test_transforms_give_what_they_give_of_the_dense_product(name: str) -> None:
    transform = TRANSFORMS[name]
    found = tree_leaves(transform(sparse)(*arguments(4)))
    wanted = tree_leaves(transform(dense)(*arguments(4)))
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=EXACT, rtol=EXACT)


def test_many_gradients_at_once_are_those_one_by_one() -> None:
    leaves = arguments(3)
    at_once = torch.autograd.functional.jacobian(sparse, leaves, vectorize=True)
    for one, other in zip(at_once, torch.autograd.functional.jacobian(sparse, leaves), strict=True):
        torch.testing.assert_close(one, other, atol=EXACT, rtol=EXACT)


def test_a_gradient_penalty_is_that_of_the_dense_product() -> None:
    found = []
    for function in (sparse, dense):
        inputs, values, bias = (one.requires_grad_() for one in arguments(6))
        (slope,) = torch.autograd.grad(
            function(inputs, values, bias).square().sum(), inputs, create_graph=True
        )
        slope.square().sum().backward()
        found.append((inputs.grad, values.grad, bias.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=EXACT, rtol=EXACT)


def test_inference_leaves_no_graph() -> None:
    inputs, values, bias = arguments(3)
    with torch.inference_mode():
        outputs = product(inputs, values.requires_grad_(), bias, INDEX)
    assert outputs.is_inference()
    with torch.no_grad():
        assert not sparse(inputs, values, bias).requires_grad
