"""Products with live weights on tensors: memory, threads and kernels, no gradients.

Inputs and outputs have the shape ``(*, features)`` of any linear layer, and lie in memory with the
features first: as the transpose of ``(features, batch)``. What lies like that is taken as it is.
Away from the processor, where these kernels cannot run, live weights are scattered into a dense
matrix for the time of a product.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from math import prod

import torch
from torch import Tensor

from structure_net.core.live_index import LiveIndex
from structure_net.core.sparse_passes import ZEROS, Pass, freed

__all__ = [
    "ZEROS",
    "address_of",
    "all_gradients",
    "batch_size",
    "bias_gradient",
    "dense_weights",
    "differentiated",
    "features_first",
    "input_gradient",
    "lies_features_first",
    "like_features_first",
    "multiplied",
    "strides_of",
    "value_gradient",
    "without_autocast",
]


def features_first(tensor: Tensor) -> Tensor:
    """``tensor``, shape ``(*, features)``, or a copy of it that lies with the features first."""
    tensor = tensor.resolve_neg()
    if lies_features_first(tensor):
        return tensor
    shape = tensor.shape
    lines = tensor.new_empty_strided(shape, strides_of(shape))
    if not tensor.is_cpu or (not tensor.is_contiguous() and address_of(tensor)):
        return lines.copy_(tensor)
    height, width = batch_size(shape), shape[-1]
    turning = Pass(height)
    turning.transpose((tensor.data_ptr(), lines.data_ptr()), width, height)
    turning.keep(tensor, lines)
    turning.run(tensor.dtype)
    return lines


def lies_features_first(tensor: Tensor) -> bool:
    """Whether ``tensor``, shape ``(*, features)``, lies with the features first."""
    shape, strides = tensor.shape, tensor.stride()
    if strides == (1, shape[0]) if len(shape) == 2 else strides == strides_of(shape):
        return True
    return (batch_size(shape) <= 1 or shape[-1] <= 1) and tensor.is_contiguous()


def like_features_first(like: Tensor, features: int) -> Tensor:
    """Memory for ``(*, features)``, features first, with the type and batch of ``like``."""
    if like.dim() == 2:
        batch = like.shape[0]
        return like.new_empty_strided((batch, features), (1, batch))
    shape = (*like.shape[:-1], features)
    return like.new_empty_strided(shape, strides_of(shape))


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
        with without_autocast(inputs.device):
            lines = dense_weights(values, index) @ inputs.reshape(-1, index.shape[1]).T
            return _spread(lines if bias is None else lines + bias[:, None], inputs.shape)
    result = like_features_first(inputs, index.shape[0])
    tensors = (
        inputs.data_ptr(),
        values.data_ptr(),
        0 if bias is None else address_of(bias),
        result.data_ptr(),
    )
    product = Pass(batch_size(inputs.shape))
    product.multiply(tensors, index)
    product.keep(inputs, values, bias, result)
    product.run(inputs.dtype)
    return result


def input_gradient(gradient: Tensor, values: Tensor, index: LiveIndex) -> Tensor:
    """The product ``dy W``: `differentiated` for inputs only."""
    if not index.by_row:
        with without_autocast(gradient.device):
            lines = gradient.reshape(-1, index.shape[0]).T
            return _spread(dense_weights(values, index).T @ lines, gradient.shape)
    result = like_features_first(gradient, index.shape[1])
    tensors = (gradient.data_ptr(), values.data_ptr(), 0, result.data_ptr())
    product = Pass(batch_size(gradient.shape))
    product.multiply(tensors, index, by_column=True)
    product.keep(gradient, values, result)
    product.run(gradient.dtype)
    return result


def value_gradient(gradient: Tensor, inputs: Tensor, index: LiveIndex) -> Tensor:
    """The entries of ``dy^T x`` at the weights: `differentiated` for values only."""
    if not index.by_row:
        with without_autocast(gradient.device):
            full = gradient.reshape(-1, index.shape[0]).T @ inputs.reshape(-1, index.shape[1])
        return full[index.row_order, index.columns]
    result = gradient.new_empty(index.count)
    tensors = (gradient.data_ptr(), inputs.data_ptr(), result.data_ptr())
    product = Pass(batch_size(gradient.shape))
    product.sample(tensors, index)
    product.keep(gradient, inputs, result)
    product.run(gradient.dtype)
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
    product = Pass(batch_size(gradient.shape))
    product.differentiate(tensors, index)
    product.keep(gradient, inputs, values, of_inputs, of_values)
    product.run(gradient.dtype)
    return of_inputs, of_values


def all_gradients(
    gradient: Tensor, inputs: Tensor, parameters: tuple[Tensor, Tensor], index: LiveIndex
) -> tuple[Tensor, Tensor, Tensor]:
    """`differentiated` and `bias_gradient` in one pass.

    Args:
        gradient: Of the product. Shape ``(*, out)``, features first.
        inputs: Shape ``(*, in)``, features first.
        parameters: Values, shape ``(n,)``, and bias, ``(out,)``.
        index: Of the weights.

    Returns:
        Shape ``(*, in)``, features first, ``(n,)`` and ``(out,)``.
    """
    values, bias = parameters
    if not index.by_row:
        both = differentiated(gradient, inputs, values, index)
        return *both, bias_gradient(gradient, bias)
    made = torch.empty_like(inputs), torch.empty_like(values), torch.empty_like(bias)
    read, x, v, dx, dv, db = (one.data_ptr() for one in (gradient, inputs, values, *made))
    back = Pass(batch_size(gradient.shape))
    back.add_up((read, db), index.shape[0])
    back.differentiate((read, x, v, dx, dv), index)
    back.keep(gradient, inputs, values, *made)
    back.run(gradient.dtype)
    return made


def address_of(tensor: Tensor) -> int:
    """Where a tensor's memory begins.

    Raises:
        RuntimeError: It has entries, but its memory was freed.
    """
    address = tensor.data_ptr()
    if not address and tensor.numel():
        raise RuntimeError(freed())
    return address


def bias_gradient(gradient: Tensor, bias: Tensor) -> Tensor:
    """The sum of ``gradient``, features first, over all but its last axis; ``bias`` is its like."""
    shape = gradient.shape
    if not gradient.is_cpu:
        return gradient.reshape(-1, shape[-1]).sum(0)
    result = torch.empty_like(bias)
    product = Pass(batch_size(shape))
    product.add_up((gradient.data_ptr(), result.data_ptr()), shape[-1])
    product.run(gradient.dtype)
    return result


def dense_weights(values: Tensor, index: LiveIndex) -> Tensor:
    """The matrix with ``values`` at the index, differentiably. Shape ``(out, in)``."""
    if index.plain and not index.by_row:
        size = index.shape[0] * index.shape[1]
        return values.new_zeros(size).index_put((index.flat,), values).view(index.shape)
    places = index.row_order, index.columns.long()
    return values.new_zeros(index.shape).index_put(places, values)


def _spread(lines: Tensor, shape: torch.Size) -> Tensor:
    """``(features, batch)`` as ``(*, features)``, features first, with the batch of ``shape``."""
    return lines.reshape(len(lines), *shape[:-1]).movedim(0, -1)


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Within, operations on ``device`` compute in the type of their tensors."""
    if not torch._C._is_any_autocast_enabled():
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def strides_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of ``shape`` with the last axis slowest."""
    if len(shape) == 2:
        return (1, shape[0])
    step, strides = 1, []
    for size in reversed(shape[:-1]):
        strides.append(step)
        step *= max(size, 1)
    return (*reversed(strides), step)
