"""Products with live weights on tensors: memory, threads and kernels, no gradients.

Inputs and outputs have the shape ``(*, features)`` of any linear layer, and lie in memory with the
features first: as the transpose of ``(features, batch)``. What lies like that is taken as it is.
Away from the processor, where these kernels cannot run, live weights are scattered into a dense
matrix for the time of a product.
"""

from __future__ import annotations

from functools import cache
from math import prod
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from structure_net.core import sparse_kernels
from structure_net.core.compiling import TypedKernel, wide_registers
from structure_net.core.live_index import LiveIndex
from structure_net.core.threads import even_bounds, run_blocks

ZEROS: Final[dict[torch.dtype, Any]] = {
    torch.float32: np.float32(0),
    torch.float64: np.float64(0),
}
"""The types that kernels compute in, and a zero of each."""

THREADED_WORK: Final = 1_000_000
"""Products of a weight and a sample below which a second thread costs more than it gains."""


class _Lines(NamedTuple):
    """The widest tiles whose sums stay in registers, in lines, by kernel."""

    multiply: int
    differentiate: int
    sample: int


def features_first(tensor: Tensor) -> Tensor:
    """``tensor``, shape ``(*, features)``, or a copy of it that lies with the features first."""
    shape = tensor.shape
    strides = _strides(shape)
    if tensor.stride() == strides:
        return tensor
    height, width = batch_size(shape), shape[-1]
    plain = tensor.is_contiguous()
    if plain and (height <= 1 or width <= 1):
        return tensor
    lines = tensor.new_empty_strided(shape, strides)
    if not plain or not tensor.is_cpu:
        return lines.copy_(tensor)
    addresses = (tensor.data_ptr(), lines.data_ptr())
    sparse_kernels.transpose(ZEROS[tensor.dtype], addresses, width, height, (1, 0, width))
    return lines


def like_features_first(like: Tensor, features: int) -> Tensor:
    """Memory for ``(*, features)``, features first, with the type and batch of ``like``."""
    shape = (*like.shape[:-1], features)
    return like.new_empty_strided(shape, _strides(shape))


def batch_size(shape: torch.Size) -> int:
    """The number of samples in ``(*, features)``."""
    return shape[0] if len(shape) == 2 else prod(shape[:-1])


def multiplied(inputs: Tensor, values: Tensor, bias: Tensor | None, index: LiveIndex) -> Tensor:
    """The product ``x W^T + b``.

    Args:
        inputs: Shape ``(*, in)``, features first.
        values: Shape ``(n,)``, contiguous.
        bias: Shape ``(out,)``, contiguous, or None.
        index: Of the weights.

    Returns:
        Shape ``(*, out)``, features first.
    """
    if not index.by_row:
        return torch.nn.functional.linear(inputs, _dense(values, index), bias)
    result = like_features_first(inputs, index.shape[0])
    tensors = (
        inputs.data_ptr(),
        values.data_ptr(),
        0 if bias is None else bias.data_ptr(),
        result.data_ptr(),
    )
    _run(sparse_kernels.multiply, tensors, inputs, index, _lines().multiply)
    return result


def input_gradient(gradient: Tensor, values: Tensor, index: LiveIndex) -> Tensor:
    """The product ``dy W``: `differentiated` for inputs only."""
    if not index.by_row:
        return gradient @ _dense(values, index)
    result = like_features_first(gradient, index.shape[1])
    tensors = (gradient.data_ptr(), values.data_ptr(), 0, result.data_ptr())
    lines = _lines().multiply
    _run(sparse_kernels.multiply, tensors, gradient, index, lines, by_column=True)
    return result


def value_gradient(gradient: Tensor, inputs: Tensor, index: LiveIndex) -> Tensor:
    """The entries of ``dy^T x`` at the weights: `differentiated` for values only."""
    if not index.by_row:
        full = gradient.reshape(-1, index.shape[0]).T @ inputs.reshape(-1, index.shape[1])
        return full[index.row_order, index.columns]
    result = gradient.new_empty(index.count)
    tensors = (gradient.data_ptr(), inputs.data_ptr(), result.data_ptr())
    _run(sparse_kernels.sample, tensors, gradient, index, _lines().sample)
    return result


def differentiated(
    gradient: Tensor, inputs: Tensor, values: Tensor, index: LiveIndex
) -> tuple[Tensor, Tensor]:
    """The gradients of inputs and values, in one pass.

    Args:
        gradient: Of the product. Shape ``(*, out)``, features first.
        inputs: Shape ``(*, in)``, features first.
        values: Shape ``(n,)``, contiguous.
        index: Of the weights.

    Returns:
        Shape ``(*, in)``, features first, and ``(n,)``.
    """
    if not index.by_row:
        of_inputs = input_gradient(gradient, values, index)
        return of_inputs, value_gradient(gradient, inputs, index)
    of_inputs, of_values = torch.empty_like(inputs), torch.empty_like(values)
    tensors = (
        gradient.data_ptr(),
        inputs.data_ptr(),
        values.data_ptr(),
        of_inputs.data_ptr(),
        of_values.data_ptr(),
    )
    lines = _lines().differentiate
    _run(sparse_kernels.differentiate, tensors, gradient, index, lines, by_column=True)
    return of_inputs, of_values


def bias_gradient(gradient: Tensor, bias: Tensor) -> Tensor:
    """The sum of ``gradient``, features first, over all but its last axis; ``bias`` is its like."""
    shape = gradient.shape
    if not gradient.is_cpu:
        return gradient.reshape(-1, shape[-1]).sum(0)
    result = torch.empty_like(bias)
    tensors = (gradient.data_ptr(), result.data_ptr())
    block = (1, 0, shape[-1])
    sparse_kernels.add_up(ZEROS[gradient.dtype], tensors, 0, batch_size(shape), block)
    return result


def _run(
    kernel: TypedKernel[None],
    tensors: tuple[int, ...],
    like: Tensor,
    index: LiveIndex,
    lines: int,
    *,
    by_column: bool = False,
) -> None:
    """Runs a kernel over all rows or columns, on threads where the work is worth it.

    Args:
        kernel: One of `sparse_kernels`.
        tensors: The addresses that the kernel takes.
        like: A tensor of the type and with the batch of the others. Shape ``(*, features)``.
        index: Of the weights.
        lines: The most lines of a tile.
        by_column: Whether the kernel goes through columns.
    """
    zero, batch = ZEROS[like.dtype], batch_size(like.shape)
    places = index.by_column if by_column else index.by_row
    if batch * index.count < THREADED_WORK or (threads := torch.get_num_threads()) == 1:
        kernel(zero, tensors, places, batch, (lines, 0, index.shape[by_column]))
        return
    offsets = index.column_offsets if by_column else index.offsets
    run_blocks(
        lambda first, last: kernel(zero, tensors, places, batch, (lines, first, last)),
        even_bounds(offsets.numpy(), threads),
    )


def _dense(values: Tensor, index: LiveIndex) -> Tensor:
    """The matrix with ``values`` at the index. Shape ``(out, in)``."""
    matrix = values.new_zeros(index.shape)
    matrix[index.row_order, index.columns] = values
    return matrix


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of ``shape`` with the last axis slowest."""
    if len(shape) == 2:
        return (1, shape[0])
    step, strides = 1, []
    for size in reversed(shape[:-1]):
        strides.append(step)
        step *= max(size, 1)
    return (*reversed(strides), step)


@cache
def _lines() -> _Lines:
    """Measured: more lines than registers hold are written to memory and read back."""
    return _Lines(8, 8, 8) if wide_registers() else _Lines(4, 4, 4)
