"""Convolutions with live weights on tensors: memory, threads and kernels, no gradients.

Where the kernels cannot run, live weights are scattered into a dense weight for the time of a
convolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

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
from structure_net.core.live_index import LiveIndex
from structure_net.core.sparse_compute import ZEROS, address_of
from structure_net.core.threads import run_blocks
from structure_net.core.windows import Geometry, Pair

_BLOCKS: Final = 16
"""Parts of a batch whose gradients at the weights are summed apart."""

_THREADED_WORK: Final = 2**22
"""Multiplications that are worth more than one thread."""


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """What a convolution with live weights is, but for its numbers.

    Args:
        index: Where the connections stand.
        geometry: The window, without groups, padded with zeros.
        whole: Whether a connection is a whole kernel, rather than a single weight of one.
        size: Height and width of the images.
    """

    index: LiveIndex
    geometry: Geometry
    whole: bool
    size: Pair

    @property
    def each(self) -> int:
        """The weights of a connection."""
        return self.geometry.size if self.whole else 1

    @property
    def channels(self) -> int:
        """The channels of the inputs."""
        return self.index.shape[1] // (1 if self.whole else self.geometry.size)

    @property
    def values_shape(self) -> tuple[int, ...]:
        """The shape of the live weights."""
        return (len(self.index), *(self.geometry.kernel if self.whole else ()))


def output_size(geometry: Geometry, size: Pair) -> Pair:
    """Height and width of the outputs for images of ``size``."""
    left, right, above, below = geometry.padding
    high, wide = (
        (pixels + around - step * (kernel - 1) - 1) // stride + 1
        for pixels, around, kernel, stride, step in zip(
            size,
            (above + below, left + right),
            geometry.kernel,
            geometry.stride,
            geometry.dilation,
            strict=True,
        )
    )
    return high, wide


def scattered(values: Tensor, index: LiveIndex, geometry: Geometry) -> Tensor:
    """The dense weight, differentiably.

    Args:
        values: Shape ``(n, *kernel)`` where a connection is a whole kernel, ``(n,)`` where it is a
            single weight.
        index: Where the connections stand.
        geometry: The window.

    Returns:
        Shape ``(O, C, *kernel)``.
    """
    rows, columns = index.row_order, index.columns.long()
    if values.dim() > 1:
        weight = values.new_zeros(*index.shape, *values.shape[1:])
        return weight.index_put((rows, columns), values)
    weight = values.new_zeros(index.shape).index_put((rows, columns), values)
    return weight.view(index.shape[0], -1, *geometry.kernel)


def dense_convolution(
    inputs: Tensor, values: Tensor, bias: Tensor | None, index: LiveIndex, geometry: Geometry
) -> Tensor:
    """The convolution by torch's own; shapes as for `sparse_conv2d`."""
    left, right, above, below = geometry.padding
    weight = scattered(values, index, geometry)
    if (left, above) != (right, below):
        inputs, left, above = F.pad(inputs, geometry.padding), 0, 0
    return F.conv2d(inputs, weight, bias, geometry.stride, (above, left), geometry.dilation)


def convolved(inputs: Tensor, values: Tensor, bias: Tensor | None, form: Form) -> Tensor:
    """The convolution of inputs with live weights, by the kernels.

    Args:
        inputs: Shape ``(N, C, H, W)``, as all that follow float32 or float64 on the processor.
        values: Shape ``(n, *kernel)`` or ``(n,)``.
        bias: Shape ``(O,)``, or None.
        form: Of the convolution.

    Returns:
        Shape ``(N, O, H', W')``.

    Raises:
        ValueError: The kernel is larger than the padded images.
    """
    _addresses(inputs, values, bias)  # which refuses freed memory, that a copy would read
    inputs, values = inputs.resolve_neg().contiguous(), values.contiguous()
    bias = None if bias is None else bias.contiguous()
    index, one = form.index, _grid(len(inputs), form)
    outputs = inputs.new_empty(len(inputs), index.shape[0], *one.outputs)
    starts, places = _integers(index.shape[0] + 1), _integers(values.numel())
    read = _addresses(index.offsets, index.columns, one.form)
    list_forward(*[*read, form.each, *_addresses(starts, places)])
    lines = inputs.shape[1] * one.planes + index.shape[0]
    zero = ZEROS[inputs.dtype]

    def block(_: int, first: int, last: int) -> None:
        # Tensors, not addresses: threads may outlast an interrupt of the caller.
        scratch = inputs.new_zeros(lines, one.length)
        given = (inputs, values, bias, outputs, starts, places, one.form, scratch)
        convolve(zero, *[*_addresses(*given), first, last])

    work = values.numel() * outputs[:, :1].numel()
    _in_blocks(block, len(inputs), one.images, work=work)
    return outputs


def differentiated(
    gradient: Tensor, inputs: Tensor | None, values: Tensor | None, form: Form
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of inputs and of values, by the kernels.

    Args:
        gradient: Of the outputs. Shape ``(N, O, H', W')``.
        inputs: Shape ``(N, C, H, W)``; None where the gradient of values is not asked for.
        values: Shape ``(n, *kernel)`` or ``(n,)``; None where that of inputs is not asked for.
        form: Of the convolution.

    Returns:
        Shapes as those of inputs and values; None where not asked for.
    """
    if inputs is None and values is None:
        return None, None
    _addresses(inputs, values)  # as above
    gradient, index = gradient.resolve_neg().contiguous(), form.index
    inputs = None if inputs is None else inputs.resolve_neg().contiguous()
    one, count = _grid(len(gradient), form), len(index) * form.each
    lines = form.channels * one.planes
    starts, places, origins = (_integers(n) for n in (lines + 1, count, count))
    read = _addresses(index.column_offsets, index.rows, index.order, one.form)
    list_backward(*[*read, form.each, *_addresses(starts, places, origins)])
    weights = None if values is None else values.flatten()[origins]
    at_inputs = None
    if values is not None:
        make = gradient.new_empty if one.whole else gradient.new_zeros
        at_inputs = make((len(gradient), form.channels, *form.size))
    sums = None if inputs is None else gradient.new_zeros(_BLOCKS, count)
    zero = ZEROS[gradient.dtype]

    def block(number: int, first: int, last: int) -> None:
        scratch = gradient.new_zeros(2 * lines + index.shape[0], one.length)
        mine = None if sums is None else sums[number]
        given = (inputs, gradient, weights, at_inputs, mine, starts, places, one.form, scratch)
        differentiate(zero, *[*_addresses(*given), first, last])

    work = count * gradient[:, :1].numel()
    _in_blocks(block, len(gradient), one.images, work=work)
    if sums is None:
        return at_inputs, None
    at_values = gradient.new_empty(count).index_copy_(0, origins.long(), sums.sum(0))
    return at_inputs, at_values.view(form.values_shape)


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


def _grid(batch: int, form: Form) -> Grid:
    return grid(form.geometry, (form.channels, form.index.shape[0]), form.size, batch)


def _integers(count: int) -> Tensor:
    return torch.empty(count, dtype=torch.int32)


def _addresses(*tensors: Tensor | None) -> tuple[int, ...]:
    return tuple(0 if tensor is None else address_of(tensor) for tensor in tensors)
