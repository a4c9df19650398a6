"""Sparse layers in a row that run as one chain, where nobody looks between them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from structure_net.core.layers import StandardSparseLayer
from structure_net.core.products import plain_now
from structure_net.core.sparse_chains import Link, chained
from structure_net.core.sparse_passes import ZEROS

_PLAIN = (Tensor, nn.Parameter)


def through(stages: Iterable[tuple[nn.Module, nn.Module | None]], inputs: Tensor) -> Tensor:
    """``inputs`` through modules in turn; runs of sparse layers in live storage as one chain each.

    A layer is part of a chain where its weights are plain ones on the processor and it has no hook
    and no forward of its own, and so is the ReLU behind it. Under autocast, a transform, a compiler
    or whatever else watches operations, each module runs by itself. The numbers are the same.

    Args:
        stages: Pairs of a layer and the activation behind it, or None.
        inputs: Shape ``(batch, in)``.

    Returns:
        What the last module gives.
    """
    run = _Run(inputs)
    for layer, activation in stages:
        if run.takes(layer, activation):
            continue
        hidden = layer(run.end())
        run = _Run(hidden if activation is None else activation(hidden))
    return run.end()


class _Run:
    """Layers that wait to be computed as one chain.

    Args:
        inputs: Of the first of them.
    """

    def __init__(self, inputs: Tensor) -> None:
        self._inputs = inputs
        self._open = _chainable(inputs)
        self._links: list[Link] = []
        self._parameters: list[Tensor | None] = []
        self._width = inputs.shape[-1] if self._open else 0

    def takes(self, layer: nn.Module, activation: nn.Module | None) -> bool:
        """Takes in a layer and its activation, if they can be part of the chain."""
        if not self._open or type(layer) is not StandardSparseLayer or not _quiet(layer):
            return False
        if activation is not None and (type(activation) is not nn.ReLU or not _quiet(activation)):
            return False
        held = layer._parameters
        weight, bias = held.get("weight"), held.get("bias")
        if bias is None:
            bias = layer.bias
        if weight is None or weight.dim() != 1 or not _fits(weight, self._inputs.dtype):
            return False
        index = layer.index
        fits = bool(index.by_row) and index.count == weight.shape[0]
        if bias is not None:
            fits = fits and _fits(bias, weight.dtype) and bias.shape == index.shape[:1]
        if not fits or index.shape[1] != self._width:
            return False
        self._links.append(Link(index, activation is not None))
        self._parameters += (weight, bias)
        self._width = index.shape[0]
        return True

    def end(self) -> Tensor:
        """What the layers make of the inputs."""
        if not self._links:
            return self._inputs
        return chained(self._inputs, self._parameters, tuple(self._links))


def _chainable(inputs: Tensor) -> bool:
    """Whether a chain may begin: nobody watches, and kernels know what these tensors hold."""
    return (
        type(inputs) in _PLAIN
        and inputs.dim() == 2
        and inputs.dtype in ZEROS
        and inputs.is_cpu
        and plain_now()
        and not torch.is_autocast_enabled("cpu")
        and not _has_any_global_hook()
    )


def _quiet(module: nn.Module) -> bool:
    """Whether calling ``module`` is nothing but its class's forward."""
    own = module.__dict__
    return not (
        own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or own["_backward_hooks"]
        or own["_backward_pre_hooks"]
        or "forward" in own
        or own.get("_compiled_call_impl")
    )


def _fits(tensor: Tensor, kind: torch.dtype) -> bool:
    return (
        type(tensor) in _PLAIN and tensor.dtype == kind and tensor.is_cpu and tensor.is_contiguous()
    )
