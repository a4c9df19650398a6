"""The convolution of images with live weights: its cost follows them.

Images stay as torch has them, ``(N, C, H, W)``. A few at a time are laid onto a grid that fits into
the processor's cache (`convolution_grids`), where each live weight is one shifted multiplication
and addition, and the outputs are fetched from there. While a model is compiled, exported or traced,
that is an operator of torch (`convolution_operators`). Elsewhere than in float32 or float64 on a
processor, and under autocast, the weights are scattered into a dense one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from structure_net.core.capturing import capturing
from structure_net.core.convolution_compute import Form, dense_convolution, scattered
from structure_net.core.convolution_gradients import convolution
from structure_net.core.convolution_operators import operate
from structure_net.core.live_index import LiveIndex
from structure_net.core.sparse_compute import ZEROS
from structure_net.core.windows import Geometry

__all__ = ["scattered", "sparse_conv2d"]

_PLAIN = (Tensor, nn.Parameter)


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
        ValueError: The inputs have other channels, or are smaller than the kernel; there is not one
            value for each place, or not one bias for each output.
    """
    if inputs.dim() == 3:
        return sparse_conv2d(inputs[None], values, bias, index, geometry)[0]
    tensors = [one for one in (inputs, values, bias) if one is not None]
    if not _fit_kernels(tensors) or index.mapped:
        return dense_convolution(inputs, values, bias, index, geometry)
    whole = values.dim() > 1
    channels = index.shape[1] // (1 if whole else geometry.size)
    if inputs.dim() != 4 or inputs.shape[1] != channels:
        raise ValueError(
            f"inputs must have shape (N, {channels}, H, W); got {tuple(inputs.shape)}."
        )
    wanted = (len(index), *(geometry.kernel if whole else ()))
    if values.shape != wanted:
        raise ValueError(
            f"values must have shape {wanted}, as the index asks for; got {tuple(values.shape)}."
        )
    if bias is not None and bias.shape != index.shape[:1]:
        raise ValueError(
            f"bias must have shape {tuple(index.shape[:1])}, the index's outputs; got "
            f"{tuple(bias.shape)}."
        )
    plain = index.plain and all(type(one) in _PLAIN for one in tensors)
    if capturing() or not plain or _watched():
        return operate(inputs, values, bias, index, geometry)
    form = Form(index, geometry, whole, (inputs.shape[2], inputs.shape[3]))
    return convolution(inputs, values, bias, form)


def _fit_kernels(tensors: list[Tensor]) -> bool:
    """Whether the compiled loops know such numbers, wherever the tensors' memory is."""
    kind = tensors[0].dtype
    cast = torch.is_autocast_enabled("cpu")
    return (
        kind in ZEROS
        and not cast
        and all(one.dtype == kind and one.device.type == "cpu" for one in tensors)
    )


def _watched() -> bool:
    """Whether somebody records or replaces torch's operations."""
    recording = torch._C._get_tracing_state() is not None
    return recording or torch._C._len_torch_dispatch_stack() > 0
