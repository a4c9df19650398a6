"""The product with live weights as operators of torch: for programs that are compiled or exported.

``torch.ops.structure_net.sparse_linear`` is what a compiled or exported program calls; such a
program runs wherever `structure_net` is imported. Between Python and the kernels the operator costs
more than `sparse_gradients`, which takes part in everything else.

Torch's counter of operations (`torch.utils.flop_counter`) knows operators by formulas, which it
copies when a counter is made, so that they are registered where the operators are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from structure_net.core.live_index import LiveIndex
from structure_net.core.sparse_compute import (
    differentiated,
    features_first,
    input_gradient,
    like_features_first,
    multiplied,
    value_gradient,
)
from structure_net.core.sparse_gradients import check_factors, check_kept


@torch.library.custom_op("structure_net::sparse_linear", mutates_args=())
def sparse_linear(  # noqa: PLR0913, PLR0917  # an operator takes tensors, not values
    inputs: Tensor,
    values: Tensor,
    bias: Tensor | None,
    offsets: Tensor,
    columns: Tensor,
    column_offsets: Tensor,
    rows: Tensor,
    order: Tensor,
) -> Tensor:
    """``x W^T + b``. Shapes as for `products.sparse_linear` and `LiveIndex`."""
    index = LiveIndex.implied((offsets, columns, column_offsets, rows, order))
    check_factors("outputs", inputs, values, index)
    if bias is not None:
        check_kept("bias", bias, index.shape[:1], values)
        bias = bias.contiguous()
    return multiplied(features_first(inputs), values.contiguous(), bias, index)


@torch.library.custom_op("structure_net::sparse_linear_backward", mutates_args=())
def sparse_linear_backward(  # noqa: PLR0913, PLR0917  # the same
    gradient: Tensor,
    inputs: Tensor,
    values: Tensor,
    offsets: Tensor,
    columns: Tensor,
    column_offsets: Tensor,
    rows: Tensor,
    order: Tensor,
    of_inputs: bool,
    of_values: bool,
) -> tuple[Tensor, Tensor]:
    """The gradients of inputs and of values; of one that is not asked for, nothing: ``(0,)``."""
    index = LiveIndex.implied((offsets, columns, column_offsets, rows, order))
    check_factors("inputs", gradient, values, index)
    check_factors("values", gradient, inputs, index)
    gradient, values, inputs = features_first(gradient), values.contiguous(), features_first(inputs)
    if of_inputs and of_values:
        return differentiated(gradient, inputs, values, index)
    return (
        input_gradient(gradient, values, index) if of_inputs else gradient.new_empty(0),
        value_gradient(gradient, inputs, index) if of_values else gradient.new_empty(0),
    )


def operate(inputs: Tensor, values: Tensor, bias: Tensor | None, index: LiveIndex) -> Tensor:
    """`sparse_linear` with an index."""
    result: Tensor = torch.ops.structure_net.sparse_linear(
        inputs,
        values,
        bias,
        *index.tensors,
    )
    return result


@sparse_linear.register_fake
def _(inputs: Tensor, values: Tensor, bias: Tensor | None, *index: Tensor) -> Tensor:
    return like_features_first(inputs, index[0].shape[0] - 1)


@sparse_linear_backward.register_fake
def _(gradient: Tensor, inputs: Tensor, values: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    of_inputs, of_values = rest[-2:]
    return (
        like_features_first(gradient, inputs.shape[-1]) if of_inputs else gradient.new_empty(0),
        gradient.new_empty(values.shape) if of_values else gradient.new_empty(0),
    )


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    inputs, values, _, *index = inputs
    ctx.save_for_backward(inputs, values, *index)


def _differentiate(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    of_inputs, of_values, of_bias, *rest = ctx.needs_input_grad
    found: list[Tensor | None] = [None, None, None, *(None for _ in rest)]
    if of_inputs or of_values:
        both = torch.ops.structure_net.sparse_linear_backward(
            gradient, *ctx.saved_tensors, of_inputs, of_values
        )
        found[:2] = both[0] if of_inputs else None, both[1] if of_values else None
    if of_bias:
        found[2] = gradient.reshape(-1, gradient.shape[-1]).sum(0)
    return tuple(found)


def each_call(
    operator: Callable[..., Any], info: Any, dims: tuple[int | None, ...], args: tuple[Any, ...]
) -> list[Any]:
    """What an operator gives for each place of the axes that are mapped over.

    Args:
        operator: What is called.
        info: What torch tells of the map.
        dims: Along which axis each argument is mapped over; no number: not at all.
        args: The arguments.
    """
    return [
        operator(
            *(
                one.select(dim, place) if isinstance(dim, int) else one
                for one, dim in zip(args, dims, strict=True)
            )
        )
        for place in range(info.batch_size)
    ]


def _over_batch(info: Any, dims: tuple[int | None, ...], *args: Any) -> tuple[Tensor, int]:
    """One call where inputs are all that is mapped over, else one call each."""
    if dims[0] is not None and all(one is None for one in dims[1:]):
        return sparse_linear(args[0].movedim(dims[0], 0), *args[1:]), 0
    return torch.stack(each_call(sparse_linear, info, dims, args)), 0


def _backward_over_batch(
    info: Any, dims: tuple[int | None, ...], *args: Any
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    each = each_call(sparse_linear_backward, info, dims, args)
    first, second = (torch.stack([one[part] for one in each]) for part in (0, 1))
    return (first, second), (0, 0)


sparse_linear.register_autograd(_differentiate, setup_context=_remember)
sparse_linear.register_vmap(_over_batch)
sparse_linear_backward.register_vmap(_backward_over_batch)


@register_flop_formula(torch.ops.structure_net.sparse_linear)
def _flops(inputs: torch.Size, values: torch.Size, *rest: Any, **_: Any) -> int:
    """A multiplication and an addition for each live weight and sample, from shapes."""
    return 2 * math.prod(inputs[:-1]) * math.prod(values)


@register_flop_formula(torch.ops.structure_net.sparse_linear_backward)
def _backward_flops(
    gradient: torch.Size, inputs: torch.Size, values: torch.Size, *rest: Any, **_: Any
) -> int:
    """The same for each of the two gradients that is asked for."""
    asked: int = sum(rest[-2:])
    return 2 * math.prod(gradient[:-1]) * math.prod(values) * asked
