"""The convolution with live weights, and its derivatives of every order and kind.

As of the linear product (`sparse_gradients`): three maps are closed under differentiation, each
linear in either argument. What `Tensor.backward` asks for once per step is computed in one pass;
all else is made of these three.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from structure_net.core.bilinear import Kind, gradients_of, one_by_one, tangent_of
from structure_net.core.convolution_compute import (
    Form,
    convolved,
    differentiated,
    output_size,
    scattered,
)
from structure_net.core.sparse_gradients import check_kept


def convolution(inputs: Tensor, values: Tensor, bias: Tensor | None, form: Form) -> Tensor:
    """The convolution of plain tensors, or of those of a transform, differentiable either way.

    Args:
        inputs: Shape ``(N, C, H, W)``.
        values: Shape ``(n, *kernel)`` or ``(n,)``.
        bias: Shape ``(O,)``, or None.
        form: Of the convolution.

    Returns:
        Shape ``(N, O, H', W')``.
    """
    in_forward_mode = torch.autograd.forward_ad._current_level >= 0
    if torch._C._are_functorch_transforms_active() or in_forward_mode:
        outputs = _bilinear("outputs", inputs, values, form)
        return outputs if bias is None else outputs + bias[:, None, None]
    result: Tensor = _Step.apply(inputs, values, bias, form)  # type: ignore[no-untyped-call]  # torch's
    return result


class _Step(torch.autograd.Function):
    """The convolution where only `Tensor.backward` asks: both gradients in one pass."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Tensor:
        inputs, values, bias, form = args
        ctx.save_for_backward(inputs, values)
        ctx.form = form
        return convolved(inputs, values, bias, form)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, values = ctx.saved_tensors
        of_inputs, of_values, of_bias, _ = ctx.needs_input_grad
        gradient, form = gradients[0], ctx.form
        images = (len(gradient), form.channels, *form.size)
        check_kept("inputs", inputs, images, gradient)
        check_kept("weights", values, form.values_shape, gradient)
        at_bias = gradient.sum((0, 2, 3)) if of_bias else None
        if torch.is_grad_enabled() or torch._C._functorch.is_legacy_batchedtensor(gradient):
            return (
                _bilinear("inputs", gradient, values, form) if of_inputs else None,
                _bilinear("values", gradient, inputs, form) if of_values else None,
                at_bias,
                None,
            )
        read, weigh = inputs if of_values else None, values if of_inputs else None
        return *differentiated(gradient, read, weigh, form), at_bias, None


class _Bilinear(torch.autograd.Function):
    """One of the three maps, for any derivative."""

    @staticmethod
    def forward(*args: Any) -> Tensor:
        kind, first, second, form = args
        check_factors(kind, first, second, form)
        if kind == "outputs":
            return convolved(first, second, None, form)
        if kind == "inputs":
            result, _ = differentiated(first, None, second, form)
        else:
            _, result = differentiated(first, second, None, form)
        assert result is not None
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.kind, *factors, ctx.form = inputs
        ctx.save_for_backward(*factors)
        ctx.save_for_forward(*factors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        product = partial(_bilinear, form=ctx.form)
        by_first, by_second = gradients_of(product, ctx.kind, ctx.saved_tensors, gradients[0])
        _, of_first, of_second, _ = ctx.needs_input_grad
        return None, by_first() if of_first else None, by_second() if of_second else None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor | None:
        product = partial(_bilinear, form=ctx.form)
        return tangent_of(product, ctx.kind, ctx.saved_tensors, (tangents[1], tangents[2]))

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], *args: Any) -> tuple[Tensor, int]:
        kind, first, second, form = args
        if kind != "values" and dims[2] is None:
            many = first.movedim(dims[1], 0)
            result = _bilinear(kind, many.flatten(0, 1), second, form)
            return result.unflatten(0, many.shape[:2]), 0
        product = partial(_bilinear, form=form)
        return one_by_one(product, kind, (first, second), (dims[1], dims[2]), info.batch_size), 0


def check_factors(kind: Kind, first: Tensor, second: Tensor, form: Form) -> None:
    """Refuses factors that were exchanged in a graph that is differentiated again."""
    batch = first.shape[0]
    images = batch, form.channels, *form.size
    outputs = batch, form.index.shape[0], *output_size(form.geometry, form.size)
    check_kept("first factor", first, images if kind == "outputs" else outputs, second)
    check_kept("second factor", second, images if kind == "values" else form.values_shape, first)


def _bilinear(kind: Kind, first: Tensor, second: Tensor, form: Form) -> Tensor:
    if any(torch._C._functorch.is_legacy_batchedtensor(one) for one in (first, second)):
        return dense_map(kind, first, second, form)
    result: Tensor = _Bilinear.apply(kind, first, second, form)  # type: ignore[no-untyped-call]  # torch's
    return result


def dense_map(kind: Kind, first: Tensor, second: Tensor, form: Form) -> Tensor:
    """One of the three maps by torch's own operations, of tensors of any type and device.

    Those that `torch.autograd.grad` hands on for ``is_grads_batched`` have no memory, either.

    Args:
        kind: What it gives.
        first: Inputs, or the gradient of outputs.
        second: Weights, or of ``"values"`` the inputs.
        form: Of the convolution.
    """
    index, geometry = form.index, form.geometry
    left, right, above, below = geometry.padding
    if kind == "values":
        images = torch.nn.functional.pad(second, geometry.padding)
        weight = first.new_zeros(index.shape[0], form.channels, *geometry.kernel)
    else:
        batch = len(first)
        size = (form.size[0] + above + below, form.size[1] + left + right)
        images = first.new_zeros(batch, form.channels, *size)
        weight = scattered(second, index, geometry)
        if kind == "outputs":
            images = torch.nn.functional.pad(first, geometry.padding)
            return torch.nn.functional.conv2d(
                images, weight, None, geometry.stride, 0, geometry.dilation
            )
    wanted = [kind == "inputs", kind == "values", False]
    settings = (geometry.stride, (0, 0), geometry.dilation, False, (0, 0), 1, wanted)
    at_images, at_weight, _ = torch.ops.aten.convolution_backward(
        first, images, weight, None, *settings
    )
    if kind == "values":
        places = index.row_order, index.columns.long()
        shape = index.shape if not form.whole else (*index.shape, *geometry.kernel)
        result: Tensor = at_weight.reshape(shape)[places]
        return result
    high, wide = form.size
    cut: Tensor = at_images[:, :, above : above + high, left : left + wide]
    return cut
