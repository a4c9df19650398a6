"""The convolution with live weights as operators of torch: for programs that are compiled or
exported.

``torch.ops.structure_net.sparse_conv2d`` is what a compiled or exported program calls; such a
program runs wherever `structure_net` is imported, on the CPU at the cost of the live weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from structure_net.core.convolution_compute import (
    Form,
    convolved,
    dense_convolution,
    differentiated,
    output_size,
)
from structure_net.core.convolution_gradients import check_factors, dense_map
from structure_net.core.live_index import LiveIndex
from structure_net.core.sparse_compute import ZEROS
from structure_net.core.sparse_gradients import check_kept
from structure_net.core.sparse_operators import each_call
from structure_net.core.windows import Geometry


@torch.library.custom_op("structure_net::sparse_conv2d", mutates_args=())
def sparse_conv2d(  # noqa: PLR0913, PLR0917  # an operator takes tensors and numbers, not values
    inputs: Tensor,
    values: Tensor,
    bias: Tensor | None,
    offsets: Tensor,
    columns: Tensor,
    column_offsets: Tensor,
    rows: Tensor,
    order: Tensor,
    window: Sequence[int],
) -> Tensor:
    """The convolution; shapes as for `sparse_convolution.sparse_conv2d` and `LiveIndex`.

    ``window`` holds the pairs kernel, stride and dilation, and the padding left, right, above and
    below.
    """
    form = _form(inputs, values, (offsets, columns, column_offsets, rows, order), window)
    if not (inputs.is_cpu and inputs.dtype in ZEROS):
        return dense_convolution(inputs, values, bias, form.index, form.geometry)
    check_factors("outputs", inputs, values, form)
    if bias is not None:
        check_kept("bias", bias, form.index.shape[:1], values)
    return convolved(inputs, values, bias, form)


@torch.library.custom_op("structure_net::sparse_conv2d_backward", mutates_args=())
def sparse_conv2d_backward(  # noqa: PLR0913, PLR0917  # the same
    gradient: Tensor,
    inputs: Tensor,
    values: Tensor,
    offsets: Tensor,
    columns: Tensor,
    column_offsets: Tensor,
    rows: Tensor,
    order: Tensor,
    window: Sequence[int],
    of_inputs: bool,
    of_values: bool,
) -> tuple[Tensor, Tensor]:
    """The gradients of inputs and of values; of one that is not asked for, nothing: ``(0,)``."""
    form = _form(inputs, values, (offsets, columns, column_offsets, rows, order), window)
    if not (inputs.is_cpu and inputs.dtype in ZEROS):
        found = (
            dense_map("inputs", gradient, values, form) if of_inputs else None,
            dense_map("values", gradient, inputs, form) if of_values else None,
        )
    else:
        check_factors("inputs", gradient, values, form)
        check_factors("values", gradient, inputs, form)
        read, weigh = inputs if of_values else None, values if of_inputs else None
        found = differentiated(gradient, read, weigh, form)
    first, second = (gradient.new_empty(0) if one is None else one for one in found)
    return first, second


def operate(
    inputs: Tensor, values: Tensor, bias: Tensor | None, index: LiveIndex, geometry: Geometry
) -> Tensor:
    """`sparse_conv2d` with an index and a window."""
    window = [*geometry.kernel, *geometry.stride, *geometry.dilation, *geometry.padding]
    result: Tensor = torch.ops.structure_net.sparse_conv2d(
        inputs,
        values,
        bias,
        *index.tensors,
        window,
    )
    return result


def _form(
    inputs: Tensor, values: Tensor, tensors: tuple[Tensor, ...], window: Sequence[int]
) -> Form:
    index = LiveIndex.implied(tensors)
    return Form(index, _geometry(window), values.dim() > 1, (inputs.shape[2], inputs.shape[3]))


def _geometry(window: Sequence[int]) -> Geometry:
    high, wide, down, along, *rest = window
    left, right, above, below = rest[2:]
    return Geometry((high, wide), (down, along), (rest[0], rest[1]), (left, right, above, below))


@sparse_conv2d.register_fake
def _(inputs: Tensor, values: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
    offsets, *_, window = rest
    high, wide = output_size(_geometry(window), (inputs.shape[2], inputs.shape[3]))
    return inputs.new_empty(inputs.shape[0], offsets.shape[0] - 1, high, wide)


@sparse_conv2d_backward.register_fake
def _(gradient: Tensor, inputs: Tensor, values: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    of_inputs, of_values = rest[-2:]
    return (
        gradient.new_empty(inputs.shape if of_inputs else (0,)),
        gradient.new_empty(values.shape if of_values else (0,)),
    )


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    inputs, values, _, *index, ctx.window = inputs
    ctx.save_for_backward(inputs, values, *index)


def _differentiate(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    of_inputs, of_values, of_bias, *rest = ctx.needs_input_grad
    found: list[Tensor | None] = [None, None, None, *(None for _ in rest)]
    if of_inputs or of_values:
        both = torch.ops.structure_net.sparse_conv2d_backward(
            gradient, *ctx.saved_tensors, ctx.window, of_inputs, of_values
        )
        found[:2] = both[0] if of_inputs else None, both[1] if of_values else None
    if of_bias:
        found[2] = gradient.sum((0, 2, 3))
    return tuple(found)


sparse_conv2d.register_autograd(_differentiate, setup_context=_remember)


@sparse_conv2d.register_vmap
def _(info: Any, dims: tuple[int | None, ...], *args: Any) -> tuple[Tensor, int]:
    return torch.stack(each_call(sparse_conv2d, info, dims, args)), 0


@sparse_conv2d_backward.register_vmap
def _(
    info: Any, dims: tuple[int | None, ...], *args: Any
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    each = each_call(sparse_conv2d_backward, info, dims, args)
    first, second = (torch.stack([one[part] for one in each]) for part in (0, 1))
    return (first, second), (0, 0)


@register_flop_formula(torch.ops.structure_net.sparse_conv2d)
def _flops(inputs: torch.Size, values: torch.Size, *rest: Any, out_shape: Any) -> int:
    """A multiplication and an addition for each live weight, sample and position, from shapes."""
    return _at_positions(values, out_shape)


@register_flop_formula(torch.ops.structure_net.sparse_conv2d_backward)
def _backward_flops(
    gradient: torch.Size, inputs: torch.Size, values: torch.Size, *rest: Any, **_: Any
) -> int:
    """The same for each of the two gradients that is asked for."""
    asked: int = sum(rest[-2:])
    return _at_positions(values, gradient) * asked


def _at_positions(values: torch.Size, outputs: torch.Size) -> int:
    return 2 * math.prod(values) * outputs[0] * outputs[2] * outputs[3]
