"""The product with live weights, and its derivatives of every order and kind.

Three products are closed under differentiation, each linear in either argument: outputs of inputs
and weights; inputs of outputs and weights; weights of outputs and inputs. What `Tensor.backward`
asks for once per step is computed in one pass; all else is made of these three.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from structure_net.core.bilinear import Kind, gradients_of, one_by_one, tangent_of
from structure_net.core.live_index import LiveIndex
from structure_net.core.sparse_compute import (
    all_gradients,
    bias_gradient,
    differentiated,
    features_first,
    input_gradient,
    multiplied,
    value_gradient,
)


def product(inputs: Tensor, values: Tensor, bias: Tensor | None, index: LiveIndex) -> Tensor:
    """``x W^T + b`` of plain tensors, or of those of a transform, differentiable either way.

    Args:
        inputs: Shape ``(*, in)``.
        values: Shape ``(n,)``.
        bias: Shape ``(out,)``, or None.
        index: Of the weights.

    Returns:
        Shape ``(*, out)``.
    """
    if torch._C._are_functorch_transforms_active() or _in_forward_mode():
        outputs = _bilinear("outputs", inputs, values, index)
        return outputs if bias is None else outputs + bias
    if torch.is_grad_enabled():
        result: Tensor = _Step.apply(inputs, values, bias, index)  # type: ignore[no-untyped-call]  # torch's
        return result
    return multiplied(features_first(inputs), values, bias, index)


def check_kept(name: str, tensor: Tensor, shape: tuple[int, ...], gradient: Tensor) -> None:
    """Refuses a tensor that was exchanged between a product and its gradients.

    Args:
        name: What it is, for the message.
        tensor: As it was saved.
        shape: As it was when the product was made.
        gradient: Of the product, in the product's type and where its memory is.

    Raises:
        RuntimeError: Shape, type or device are no longer those of the product.
    """
    same = tensor.shape == shape and tensor.dtype == gradient.dtype
    if not same or tensor.is_cpu != gradient.is_cpu:
        raise RuntimeError(
            f"The {name} of a product must still be of shape {tuple(shape)}, {gradient.dtype}, on "
            f"{gradient.device}; got {tuple(tensor.shape)}, {tensor.dtype}, on {tensor.device}. "
            "Edit, convert and exchange tensors after backward()."
        )


class _Step(torch.autograd.Function):
    """The product where only `Tensor.backward` asks: half the cost of `_Bilinear`."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Tensor:
        inputs, values, bias, index = args
        lines = features_first(inputs)
        ctx.index = index
        ctx.save_for_backward(inputs, values, bias, None if lines is inputs else lines)
        return multiplied(lines, values, bias, index)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, values, bias, lines = ctx.saved_tensors
        needs, gradient, index = ctx.needs_input_grad, gradients[0], ctx.index
        check_kept("inputs", inputs, (*gradient.shape[:-1], index.shape[1]), gradient)
        check_kept("weights", values, (index.count,), gradient)
        if bias is not None:
            check_kept("bias", bias, index.shape[:1], gradient)
        if torch.is_grad_enabled() or torch._C._functorch.is_legacy_batchedtensor(gradient):
            return (
                _bilinear("inputs", gradient, values, index) if needs[0] else None,
                _bilinear("values", gradient, inputs, index) if needs[1] else None,
                gradient.reshape(-1, gradient.shape[-1]).sum(0) if needs[2] else None,
                None,
            )
        # Hooks may have laid out anew what was saved.
        if lines is not None:
            check_kept("inputs", lines, inputs.shape, gradient)
        lines = features_first(inputs if lines is None else lines)
        values = values.contiguous()
        if bias is not None:
            bias = bias.contiguous()
        gradient = features_first(gradient)
        if all(needs[:3]):
            return *all_gradients(gradient, lines, (values, bias), index), None
        of_bias = bias_gradient(gradient, bias) if needs[2] else None
        if needs[0] and needs[1]:
            return *differentiated(gradient, lines, values, index), of_bias, None
        of_inputs = input_gradient(gradient, values, index) if needs[0] else None
        of_values = value_gradient(gradient, lines, index) if needs[1] else None
        return of_inputs, of_values, of_bias, None


class _Bilinear(torch.autograd.Function):
    """One of the three products, for any derivative."""

    @staticmethod
    def forward(*args: Any) -> Tensor:
        kind, first, second, index = args
        check_factors(kind, first, second, index)
        first = features_first(first)
        if kind == "outputs":
            return multiplied(first, second.contiguous(), None, index)
        if kind == "inputs":
            return input_gradient(first, second.contiguous(), index)
        return value_gradient(first, features_first(second), index)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.kind, *factors, ctx.index = inputs
        ctx.save_for_backward(*factors)
        ctx.save_for_forward(*factors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        product = partial(_bilinear, index=ctx.index)
        by_first, by_second = gradients_of(product, ctx.kind, ctx.saved_tensors, gradients[0])
        _, of_first, of_second, _ = ctx.needs_input_grad
        return None, by_first() if of_first else None, by_second() if of_second else None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor | None:
        product = partial(_bilinear, index=ctx.index)
        return tangent_of(product, ctx.kind, ctx.saved_tensors, (tangents[1], tangents[2]))

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], *args: Any) -> tuple[Tensor, int]:
        kind, first, second, index = args
        if kind != "values" and dims[2] is None:
            return _bilinear(kind, first.movedim(dims[1], 0), second, index), 0
        product = partial(_bilinear, index=index)
        return one_by_one(product, kind, (first, second), (dims[1], dims[2]), info.batch_size), 0


def check_factors(kind: Kind, first: Tensor, second: Tensor, index: LiveIndex) -> None:
    """Refuses factors that were exchanged in a graph that is differentiated again."""
    outputs, inputs = index.shape
    width = inputs if kind == "outputs" else outputs
    check_kept("first factor", first, (*first.shape[:-1], width), second)
    if kind == "values":
        check_kept("inputs", second, (*first.shape[:-1], inputs), first)
    else:
        check_kept("weights", second, (index.count,), first)


def _bilinear(kind: Kind, first: Tensor, second: Tensor, index: LiveIndex) -> Tensor:
    if any(torch._C._functorch.is_legacy_batchedtensor(one) for one in (first, second)):
        return _of_many(kind, first, second, index)
    result: Tensor = _Bilinear.apply(kind, first, second, index)  # type: ignore[no-untyped-call]  # torch's
    return result


def _of_many(kind: Kind, first: Tensor, second: Tensor, index: LiveIndex) -> Tensor:
    """A product where `torch.autograd.grad` hands on many gradients, for ``is_grads_batched``.

    Such a tensor has no memory, and knows torch's own operations only.
    """
    if kind == "values":
        products = first.index_select(-1, index.row_order) * second.index_select(-1, index.columns)
        return products.reshape(-1, index.count).sum(0)
    places = index.row_order * index.shape[1] + index.columns
    matrix = second.new_zeros(index.shape[0] * index.shape[1]).index_add(0, places, second)
    matrix = matrix.reshape(index.shape)
    return first @ (matrix.T if kind == "outputs" else matrix)


def _in_forward_mode() -> bool:
    """Whether tensors may carry tangents."""
    return torch.autograd.forward_ad._current_level >= 0
