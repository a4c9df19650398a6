"""Products with live weights on tensors: memory, threads and kernels, no gradients.

Inputs and outputs have the shape ``(*, features)`` of any linear layer, and lie in memory with the
features first: as the transpose of ``(features, batch)``. What lies like that is taken as it is.
Away from the processor, where these kernels cannot run, live weights are scattered into a dense
matrix for the time of a product.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from math import prod

import torch
from torch import Tensor

from structure_net.core.live_index import LiveIndex
from structure_net.core.sparse_passes import ZEROS, Pass, Plan, freed, slot

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
    turning = _turning(batch_size(shape), shape[-1])
    turning.run((address_of(tensor), lines.data_ptr()), tensor.dtype, (tensor, lines))
    return lines


@lru_cache(64)
def _turning(height: int, width: int) -> Plan:
    """A way from ``(height, width)`` to its transpose, in one thread: slots of both."""
    way = Pass(height)
    way.transpose((slot(0), slot(1)), width, height)
    return way.planned()


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
    plan = index.plans.of(_multiplying, index, batch_size(inputs.shape))
    place = 0 if bias is None else address_of(bias)
    addresses = address_of(inputs), address_of(values), place, result.data_ptr()
    plan.run(addresses, inputs.dtype, (index, inputs, values, bias, result))
    return result


def _multiplying(index: LiveIndex, batch: int) -> Plan:
    """The way of `multiplied`: slots of inputs, values, bias and the result."""
    way = Pass(batch)
    way.multiply((slot(0), slot(1), slot(2), slot(3)), index)
    return way.planned(owner=index)


def input_gradient(gradient: Tensor, values: Tensor, index: LiveIndex) -> Tensor:
    """The product ``dy W``: `differentiated` for inputs only."""
    if not index.by_row:
        with without_autocast(gradient.device):
            lines = gradient.reshape(-1, index.shape[0]).T
            return _spread(dense_weights(values, index).T @ lines, gradient.shape)
    result = like_features_first(gradient, index.shape[1])
    plan = index.plans.of(_multiplying_back, index, batch_size(gradient.shape))
    addresses = address_of(gradient), address_of(values), result.data_ptr()
    plan.run(addresses, gradient.dtype, (index, gradient, values, result))
    return result


def _multiplying_back(index: LiveIndex, batch: int) -> Plan:
    """The way of `input_gradient`: slots of the gradient, values and the result."""
    way = Pass(batch)
    way.multiply((slot(0), slot(1), 0, slot(2)), index, by_column=True)
    return way.planned(owner=index)


def value_gradient(gradient: Tensor, inputs: Tensor, index: LiveIndex) -> Tensor:
    """The entries of ``dy^T x`` at the weights: `differentiated` for values only."""
    if not index.by_row:
        with without_autocast(gradient.device):
            full = gradient.reshape(-1, index.shape[0]).T @ inputs.reshape(-1, index.shape[1])
        return full[index.row_order, index.columns]
    result = gradient.new_empty(index.count)
    plan = index.plans.of(_sampling, index, batch_size(gradient.shape))
    addresses = address_of(gradient), address_of(inputs), result.data_ptr()
    plan.run(addresses, gradient.dtype, (index, gradient, inputs, result))
    return result


def _sampling(index: LiveIndex, batch: int) -> Plan:
    """The way of `value_gradient`: slots of the gradient, inputs and the result."""
    way = Pass(batch)
    way.sample((slot(0), slot(1), slot(2)), index)
    return way.planned(owner=index)


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
    made = torch.empty_like(inputs), torch.empty_like(values)
    _derive(gradient, inputs, values, index, made)
    return made


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
    _derive(gradient, inputs, values, index, made)
    return made


def _derive(
    gradient: Tensor, inputs: Tensor, values: Tensor, index: LiveIndex, made: tuple[Tensor, ...]
) -> None:
    """Writes the gradients of inputs and values, and of a bias where three are ``made``."""
    plan = index.plans.of(_deriving, index, batch_size(gradient.shape), len(made) == 3)
    read = (gradient, inputs, values)
    addresses = [*map(address_of, read), *(one.data_ptr() for one in made)]
    plan.run(addresses, gradient.dtype, (index, read, made))


def _deriving(index: LiveIndex, batch: int, biased: bool, /) -> Plan:
    """The way of `_derive`: slots of gradient, inputs, values, and what is made."""
    way = Pass(batch)
    if biased:
        way.add_up((slot(0), slot(5)), index.shape[0])
    way.differentiate((slot(0), slot(1), slot(2), slot(3), slot(4)), index)
    return way.planned(owner=index)


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
