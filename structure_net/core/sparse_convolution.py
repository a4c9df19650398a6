"""The convolution of images with live weights: its cost follows them.

Images stay as torch has them, ``(N, C, H, W)``. A few at a time are laid onto a grid that fits into
the processor's cache (`convolution_grids`), where each live weight is one shifted multiplication
and addition, and the outputs are fetched from there. Elsewhere than in float32 or float64 on a
processor, under the transforms of `torch.func` and while a model is compiled or exported, the
weights are scattered into a dense one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from structure_net.core.convolution_grids import Grid, grid
from structure_net.core.convolution_kernels import (
    convolve,
    differentiate,
    list_backward,
    list_forward,
)
from structure_net.core.products import LiveIndex
from structure_net.core.sparse_compute import ZEROS
from structure_net.core.threads import run_blocks
from structure_net.core.windows import Geometry

_BLOCKS: Final = 16
"""Parts of a batch whose gradients at the weights are summed apart."""

_THREADED_WORK: Final = 2**22
"""Multiplications that are worth more than one thread."""


def sparse_conv2d(
    inputs: Tensor,
    values: Tensor,
    bias: Tensor | None,
    index: LiveIndex,
    geometry: Geometry,
) -> Tensor:
    r"""The convolution with a weight whose entries off the index are zero.

    Args:
        inputs: Shape ``(N, C, H, W)``, or ``(C, H, W)``.
        values: The live weights in the order of ``index.columns``. Shape ``(n, *kernel)`` where a
            connection is a whole kernel, ``(n,)`` where it is a single weight.
        bias: Shape ``(O,)``, or None.
        index: Where the connections stand. Shape ``(O, C)`` for whole kernels; for single weights
            ``(O, C * size)``, the columns being ``(channel * height + row) * width + column``.
        geometry: The window, without groups, padded with zeros.

    Returns:
        Shape ``(N, O, H', W')``, or ``(O, H', W')``.

    Raises:
        ValueError: The inputs have other channels, or are smaller than the kernel.
    """
    if inputs.dim() == 3:
        return sparse_conv2d(inputs[None], values, bias, index, geometry)[0]
    if not _on_grids(inputs, values, bias):
        return _dense(inputs, values, bias, index, geometry)
    channels = index.shape[1] // (geometry.size if values.dim() == 1 else 1)
    if inputs.dim() != 4 or inputs.shape[1] != channels:
        raise ValueError(
            f"inputs must have shape (N, {channels}, H, W); got {tuple(inputs.shape)}."
        )
    outputs: Tensor = _Convolution.apply(inputs, values, bias, index, geometry)  # type: ignore[no-untyped-call]  # torch's
    return outputs


def scattered(values: Tensor, index: LiveIndex, geometry: Geometry) -> Tensor:
    """The dense weight, differentiably. Shape ``(O, C, *kernel)``; arguments: `sparse_conv2d`."""
    rows, columns = index.row_order, index.columns.long()
    if values.dim() > 1:
        weight = values.new_zeros(*index.shape, *values.shape[1:])
        return weight.index_put((rows, columns), values)
    weight = values.new_zeros(index.shape).index_put((rows, columns), values)
    return weight.view(index.shape[0], -1, *geometry.kernel)


def _on_grids(*tensors: Tensor | None) -> bool:
    """Whether the compiled loops can read these tensors."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return False
    if torch.is_autocast_enabled("cpu"):
        return False
    given = [tensor for tensor in tensors if tensor is not None]
    first = given[0]
    return first.dtype in ZEROS and all(
        type(tensor) in (Tensor, torch.nn.Parameter)
        and tensor.device.type == "cpu"
        and tensor.dtype == first.dtype
        for tensor in given
    )


def _dense(
    inputs: Tensor, values: Tensor, bias: Tensor | None, index: LiveIndex, geometry: Geometry
) -> Tensor:
    left, right, above, below = geometry.padding
    weight = scattered(values, index, geometry)
    if (left, above) != (right, below):
        inputs, left, above = F.pad(inputs, geometry.padding), 0, 0
    return F.conv2d(inputs, weight, bias, geometry.stride, (above, left), geometry.dilation)


class _Convolution(torch.autograd.Function):
    """The convolution on grids; a derivative of its gradient is that of the dense one."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        values: Tensor,
        bias: Tensor | None,
        index: LiveIndex,
        geometry: Geometry,
    ) -> Tensor:
        ctx.save_for_backward(inputs, values)
        ctx.index, ctx.geometry = index, geometry
        bias = None if bias is None else bias.contiguous()
        return _forward(inputs.contiguous(), values.contiguous(), bias, index, geometry)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, values = ctx.saved_tensors
        gradient = gradients[0]
        if torch.is_grad_enabled():
            return _dense_backward(ctx, inputs, values, gradient)
        at_inputs, at_values = _backward(
            inputs.contiguous(),
            values.contiguous(),
            gradient.contiguous(),
            ctx.index,
            ctx.geometry,
            wanted=ctx.needs_input_grad[:2],
        )
        at_bias = gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
        return at_inputs, at_values, at_bias, None, None


def _dense_backward(
    ctx: Any, inputs: Tensor, values: Tensor, gradient: Tensor
) -> tuple[Tensor | None, ...]:
    """The gradients, so that they can be differentiated in turn."""
    outputs = _dense(inputs, values, None, ctx.index, ctx.geometry)
    wanted = ctx.needs_input_grad[:2]
    asked = [one for one, want in zip((inputs, values), wanted, strict=True) if want]
    found = iter(torch.autograd.grad(outputs, asked, gradient, create_graph=True) if asked else ())
    at_inputs, at_values = (next(found) if want else None for want in wanted)
    at_bias = gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
    return at_inputs, at_values, at_bias, None, None


def _forward(
    inputs: Tensor, values: Tensor, bias: Tensor | None, index: LiveIndex, geometry: Geometry
) -> Tensor:
    one = _grid(inputs, index, geometry)
    outputs = inputs.new_empty(len(inputs), index.shape[0], *one.outputs)
    starts, places = _integers(index.shape[0] + 1), _integers(values.numel())
    each = geometry.size if values.dim() > 1 else 1
    read = _addresses(index.offsets, index.columns, one.form)
    list_forward(*[*read, each, *_addresses(starts, places)])
    given = _addresses(inputs, values, bias, outputs, starts, places, one.form)
    lines = inputs.shape[1] * one.planes + index.shape[0]
    zero = ZEROS[inputs.dtype]

    def block(_: int, first: int, last: int) -> None:
        scratch = inputs.new_zeros(lines, one.length)
        convolve(zero, *[*given, scratch.data_ptr(), first, last])

    work = values.numel() * outputs[:, :1].numel()
    _in_blocks(block, len(inputs), one.images, work=work)
    return outputs


def _backward(
    inputs: Tensor,
    values: Tensor,
    gradient: Tensor,
    index: LiveIndex,
    geometry: Geometry,
    *,
    wanted: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:
    if not any(wanted):
        return None, None
    one = _grid(inputs, index, geometry)
    lines = inputs.shape[1] * one.planes
    starts, places, origins = (_integers(n) for n in (lines + 1, values.numel(), values.numel()))
    each = geometry.size if values.dim() > 1 else 1
    read = _addresses(index.column_offsets, index.rows, index.order, one.form)
    list_backward(*[*read, each, *_addresses(starts, places, origins)])
    weights = values.flatten()[origins]
    at_inputs = None
    if wanted[0]:
        at_inputs = torch.empty_like(inputs) if one.whole else torch.zeros_like(inputs)
    sums = values.new_zeros(_BLOCKS, len(weights)) if wanted[1] else None
    zero = ZEROS[inputs.dtype]

    def block(number: int, first: int, last: int) -> None:
        scratch = inputs.new_zeros(2 * lines + index.shape[0], one.length)
        mine = None if sums is None else sums[number]
        given = (inputs, gradient, weights, at_inputs, mine, starts, places, one.form, scratch)
        differentiate(zero, *[*_addresses(*given), first, last])

    work = values.numel() * gradient[:, :1].numel()
    _in_blocks(block, len(inputs), one.images, work=work)
    if sums is None:
        return at_inputs, None
    at_values = torch.empty_like(weights).index_copy_(0, origins.long(), sums.sum(0))
    return at_inputs, at_values.view(values.shape)


def _in_blocks(
    block: Callable[[int, int, int], None], batch: int, images: int, *, work: int
) -> None:
    """Calls ``block(number, first, last)`` for at most `_BLOCKS` parts of a batch.

    The parts depend on nothing but the batch, so that sums over them are the same on any number of
    threads. Several threads are used where ``work``, the multiplications, is worth it.
    """
    step = images * max(1, math.ceil(batch / images / _BLOCKS))
    count = math.ceil(batch / step)
    threads = min(torch.get_num_threads(), count) if work >= _THREADED_WORK else 1

    def several(first: int, last: int) -> None:
        for number in range(first, last):
            block(number, number * step, min((number + 1) * step, batch))

    run_blocks(several, [count * thread // threads for thread in range(threads + 1)])


def _grid(inputs: Tensor, index: LiveIndex, geometry: Geometry) -> Grid:
    size = (inputs.shape[2], inputs.shape[3])
    return grid(geometry, (inputs.shape[1], index.shape[0]), size, len(inputs))


def _integers(count: int) -> Tensor:
    return torch.empty(count, dtype=torch.int32)


def _addresses(*tensors: Tensor | None) -> tuple[int, ...]:
    return tuple(0 if tensor is None else tensor.data_ptr() for tensor in tensors)
