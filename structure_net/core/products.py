"""The product of inputs with the live weights of a sparse layer: its cost follows the connections.

A layer's live weights lie in the order of its pattern (by row, then by column), and a `LiveIndex`
says where each of them stands. On the processor, `sparse_linear` runs compiled loops; on other
devices it is what measures faster there (`device_ways`), and under `torch.compile` and
`torch.export` it is an operator of torch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from structure_net.core.capturing import capturing
from structure_net.core.device_ways import device_product
from structure_net.core.live_index import LiveIndex
from structure_net.core.sparse_compute import ZEROS, dense_weights
from structure_net.core.sparse_gradients import product
from structure_net.core.sparse_operators import operate

__all__ = ["LiveIndex", "sparse_linear"]

_PLAIN = (Tensor, nn.Parameter)
_HALVES = (torch.float16, torch.bfloat16)


def sparse_linear(inputs: Tensor, values: Tensor, bias: Tensor | None, index: LiveIndex) -> Tensor:
    r"""The product :math:`x W^T + b` with a matrix that is zero but for its live weights.

    Feature-major: the result lies in memory as the transpose of ``(out, batch)``, and inputs that
    lie like that are taken without a copy, so that the layers of a network hand their activations
    on. Every number is the sum of the same products in the same order, whatever the number of
    threads. float16 and bfloat16 are computed in float32 and rounded once on the CPU; under
    autocast the result has autocast's type, as that of `torch.nn.functional.linear`.

    Args:
        inputs: Shape ``(*, in)``.
        values: The live weights, in the order of ``index.columns``. Shape ``(n,)``.
        bias: Shape ``(out,)``, or None.
        index: Where the live weights stand.

    Returns:
        Shape ``(*, out)``.

    Raises:
        ValueError: Shapes do not fit each other.
        TypeError: The tensors differ in type or device, or are not floating point numbers.
    """
    if _ready(inputs, values, bias, index):
        return product(inputs, values, bias, index)
    _check(inputs, values, bias, index)
    kind = _result_type(inputs, values, bias)
    if _away(inputs, values, bias, index):
        return device_product(inputs, values, bias, index, kind=kind)
    if kind in _HALVES or values.dtype in _HALVES:
        single = None if bias is None else bias.float()
        return _dispatched(inputs.float(), values.float(), single, index).to(kind)
    return _dispatched(inputs, values, bias, index)


def _ready(inputs: Tensor, values: Tensor, bias: Tensor | None, index: LiveIndex) -> bool:
    """Whether the tensors can go to the kernels as they are: what nearly every call finds."""
    if capturing() or not index.by_row:
        return False
    kind = values.dtype
    fits = kind in ZEROS and inputs.dtype is kind and inputs.shape[-1:] == index.shape[1:]
    fits = fits and values.dim() == 1 and values.numel() == index.count and values.is_contiguous()
    plain = type(inputs) in _PLAIN and inputs.is_cpu and type(values) in _PLAIN and values.is_cpu
    if bias is not None:
        fits = fits and bias.dtype is kind and bias.dim() == 1 and bias.numel() == index.shape[0]
        plain = plain and type(bias) in _PLAIN and bias.is_cpu and bias.is_contiguous()
    return fits and plain and not (torch._C._is_any_autocast_enabled() or _watched())


def _away(inputs: Tensor, values: Tensor, bias: Tensor | None, index: LiveIndex) -> bool:
    """Whether these are plain tensors on another device."""
    if capturing() or not index.plain or index.by_row or _watched():
        return False
    return all(one is None or type(one) in _PLAIN for one in (inputs, values, bias))


def plain_now() -> bool:
    """Whether operations may be left out of sight: no transform, compiler or mode is active."""
    return not (
        capturing()
        or _watched()
        or torch._C._len_torch_function_stack() > 0
        or torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
    )


def _dispatched(inputs: Tensor, values: Tensor, bias: Tensor | None, index: LiveIndex) -> Tensor:
    """The product of tensors that fit each other, by whoever can compute it."""
    if index.mapped:
        return torch.nn.functional.linear(inputs, dense_weights(values, index), bias)
    tensors = [one for one in (inputs, values, bias) if one is not None]
    plain = index.plain and all(type(one) in _PLAIN for one in tensors)
    if capturing() or not plain or _watched():
        return operate(inputs, values, bias, index)
    return product(inputs, values.contiguous(), None if bias is None else bias.contiguous(), index)


def _watched() -> bool:
    """Whether somebody records or replaces torch's operations."""
    recording = torch._C._get_tracing_state() is not None
    return recording or torch._C._len_torch_dispatch_stack() > 0


def _result_type(inputs: Tensor, values: Tensor, bias: Tensor | None) -> torch.dtype:
    """The type of the product, once types are found to fit."""
    device = inputs.device.type
    tensors = [one for one in (inputs, values, bias) if one is not None]
    cast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    if cast and all(one.dtype != torch.float64 for one in tensors):
        kind = torch.get_autocast_dtype(device)
        known = {torch.float32, *_HALVES}
    else:
        kind, known = inputs.dtype, {inputs.dtype} & {*ZEROS, *_HALVES}
    if any(one.dtype not in known for one in tensors):
        raise TypeError(
            "inputs, values and bias must have one floating point type; got "
            f"{', '.join(str(one.dtype) for one in tensors)}."
        )
    return kind


def _check(inputs: Tensor, values: Tensor, bias: Tensor | None, index: LiveIndex) -> None:
    outputs, width = index.shape
    if not inputs.dim() or inputs.shape[-1] != width:
        raise ValueError(
            f"inputs must have the shape (*, {width}), the index's inputs last; got "
            f"{tuple(inputs.shape)}."
        )
    if values.dim() != 1 or values.shape[0] != len(index):
        raise ValueError(
            f"values must have the shape ({len(index)},), one for each place of the index; got "
            f"{tuple(values.shape)}."
        )
    if bias is not None and tuple(bias.shape) != (outputs,):
        raise ValueError(
            f"bias must have the shape ({outputs},), the index's outputs; got {tuple(bias.shape)}."
        )
    for name, one in (("inputs", inputs), ("values", values), ("bias", bias)):
        if one is not None and one.device != index.offsets.device:
            raise TypeError(
                f"{name} must be on {index.offsets.device}, as the index; got {one.device}."
            )
