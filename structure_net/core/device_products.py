"""The product with live weights on other devices than the CPU, in two ways.

*Dense*: the weights are scattered into a matrix for the time of a step, and the products are those
of any linear layer, in the precision of autocast. *Rows*: PyTorch's products with matrices of
compressed rows (cuSPARSE on CUDA), whose cost follows the connections, in float32 or float64. Both
differentiate to every order. Which one a layer takes, `device_ways` measures.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from structure_net.core.live_index import LiveIndex
from structure_net.core.sparse_compute import dense_weights, without_autocast


def dense_product(inputs: Tensor, values: Tensor, bias: Tensor | None, index: LiveIndex) -> Tensor:
    """``x W^T + b`` with ``W`` as a matrix.

    Args:
        inputs: Shape ``(*, in)``.
        values: Shape ``(n,)``.
        bias: Shape ``(out,)``, or None.
        index: Of the weights, on the device of all of these.

    Returns:
        Shape ``(*, out)``.
    """
    return F.linear(inputs, dense_weights(values, index), bias)


def rows_product(inputs: Tensor, values: Tensor, bias: Tensor | None, index: LiveIndex) -> Tensor:
    """The same with ``W`` as compressed rows; arguments and result as of `dense_product`.

    All tensors are of one type, float32 or float64. Activations lie features first, as between live
    layers on the CPU.
    """
    result: Tensor = _Rows.apply(inputs, values, bias, index)  # type: ignore[no-untyped-call]  # torch's
    return result


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *args: Any) -> Tensor:
        inputs, values, bias, index = args
        ctx.index = index
        ctx.save_for_backward(inputs, values)
        with without_autocast(inputs.device):
            lines = inputs.reshape(-1, index.shape[1]).T
            product = _by_row(values, index) @ lines
            if bias is not None:
                product += bias[:, None]
        shape = (*inputs.shape[:-1], index.shape[0])
        return product.T.reshape(shape)  # type: ignore[no-any-return]  # a tensor

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (inputs, values), index, gradient = ctx.saved_tensors, ctx.index, gradients[0]
        needs = ctx.needs_input_grad
        again = torch.is_grad_enabled() or torch._C._functorch.is_legacy_batchedtensor(gradient)
        of = _dense_gradients if again else _row_gradients
        with without_autocast(gradient.device):
            of_inputs, of_values = of(gradient, (inputs, values), index, needs)
            flat = gradient.reshape(-1, index.shape[0])
            return of_inputs, of_values, flat.sum(0) if needs[2] else None, None


def _row_gradients(
    gradient: Tensor, factors: tuple[Tensor, Tensor], index: LiveIndex, needs: tuple[bool, ...]
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of inputs and values, as far as they are needed."""
    inputs, values = factors
    lines = gradient.reshape(-1, index.shape[0]).T
    of_inputs = of_values = None
    if needs[0]:
        of_inputs = (_by_column(values, index) @ lines).T.reshape(inputs.shape)
    if needs[1]:
        places = _by_row(torch.zeros_like(values), index)
        flat = inputs.reshape(-1, index.shape[1])
        of_values = torch.sparse.sampled_addmm(places, lines, flat, beta=0.0).values()
    return of_inputs, of_values


def _dense_gradients(
    gradient: Tensor, factors: tuple[Tensor, Tensor], index: LiveIndex, needs: tuple[bool, ...]
) -> tuple[Tensor | None, Tensor | None]:
    """The same by operations that can be differentiated again."""
    inputs, values = factors
    of_inputs = of_values = None
    if needs[0]:
        of_inputs = gradient @ dense_weights(values, index)
    if needs[1]:
        flat = inputs.reshape(-1, index.shape[1])
        full = gradient.reshape(-1, index.shape[0]).T @ flat
        of_values = full.reshape(-1).index_select(0, index.flat)
    return of_inputs, of_values


def _by_row(values: Tensor, index: LiveIndex) -> Tensor:
    return torch.sparse_csr_tensor(index.offsets, index.columns, values, index.shape)


def _by_column(values: Tensor, index: LiveIndex) -> Tensor:
    """The transpose."""
    across = values.index_select(0, index.order)
    shape = index.shape[::-1]
    return torch.sparse_csr_tensor(index.column_offsets, index.rows, across, shape)
