"""Sparse layers in a row that run as one chain, where nobody looks between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from structure_net.core.capturing import capturing
from structure_net.core.layers import StandardSparseLayer
from structure_net.core.noting import Chain
from structure_net.core.products import plain_now
from structure_net.core.sparse_chains import Link, chained, chained_and_summed
from structure_net.core.sparse_passes import ZEROS

_PLAIN = (Tensor, nn.Parameter)


Stage = tuple[nn.Module, nn.Module | None]
"""A layer, and the activation behind it."""


class Onlooker(Protocol):
    """Looks at what passes through chains, by way of hooks and a mode of its own elsewhere."""

    def pause(self) -> bool:
        """Takes its mode from torch's functions, if it is the innermost one; whether it was."""

    def resume(self) -> None:
        """Puts its mode back."""

    def follows(self, module: nn.Module) -> bool:
        """Whether all hooks of a module are its own, so that `passed` can stand for them."""

    def note(self, stages: Sequence[Stage], chain: Chain) -> Tensor | None:
        """Computes a chain and notes what passes through it; None where it is to be `passed`."""

    def passed(
        self, stages: Sequence[Stage], values: Sequence[Tensor], sums: Sequence[Tensor]
    ) -> None:
        """A chain was computed.

        Args:
            stages: What it is made of; an activation is a ReLU.
            values: Its inputs, and what each stage gave, behind its activation. Shape ``(batch,
                units)``.
            sums: The `unit_sums.SUMS` of what each stage gave. Shape ``(6, units)``.
        """


_ONLOOKER: ContextVar[Onlooker | None] = ContextVar("structure_net_onlooker", default=None)


@contextmanager
def looked_at_by(onlooker: Onlooker) -> Iterator[None]:
    """Chains that run in this thread without gradients are told to ``onlooker``.

    Its hooks and its mode do not end a chain, as those of others do.
    """
    before = _ONLOOKER.get()
    try:
        _ONLOOKER.set(onlooker)
        yield
    finally:
        # One that an interrupt left behind may be collected within another look.
        if _ONLOOKER.get() is onlooker:
            _ONLOOKER.set(before)


def look_away(onlooker: Onlooker) -> None:
    """Tells ``onlooker`` of no more chains, where an interrupt has left it looking."""
    if _ONLOOKER.get() is onlooker:
        _ONLOOKER.set(None)


def through(stages: Iterable[Stage], inputs: Tensor) -> Tensor:
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
    onlooker = None if capturing() else _ONLOOKER.get()
    if onlooker is not None and (torch.is_grad_enabled() or not onlooker.pause()):
        onlooker = None
    run = _Run(inputs, onlooker)
    for layer, activation in stages:
        if run.takes(layer, activation):
            continue
        hidden = run.end()
        if onlooker is not None:
            onlooker.resume()
        hidden = layer(hidden)
        if activation is not None:
            hidden = activation(hidden)
        if onlooker is not None:
            onlooker.pause()
        run = _Run(hidden, onlooker)
    hidden = run.end()
    if onlooker is not None:
        onlooker.resume()
    return hidden


def chain_of(stages: Sequence[Stage], inputs: Tensor) -> Chain | None:
    """Modules in turn as one chain, as `through` would run them; None where they are not one."""
    run = _Run(inputs, None)
    if stages and all(run.takes(layer, activation) for layer, activation in stages):
        return run.chain()
    return None


def is_quiet(module: nn.Module) -> bool:
    """Whether calling ``module`` is nothing but its class's forward, and nobody looks."""
    own = module.__dict__
    return not (
        own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or own["_backward_hooks"]
        or own["_backward_pre_hooks"]
        or "forward" in own
        or own.get("_compiled_call_impl")
    )


def is_plain(inputs: Tensor) -> bool:
    """Whether nobody watches operations, and kernels know what ``inputs`` hold: rows of numbers."""
    return (
        type(inputs) in _PLAIN
        and inputs.dim() == 2
        and inputs.dtype in ZEROS
        and inputs.is_cpu
        and plain_now()
        and not torch.is_autocast_enabled("cpu")
        and not _has_any_global_hook()
    )


class _Run:
    """Layers that wait to be computed as one chain.

    Args:
        inputs: Of the first of them.
        onlooker: Who is told of it.
    """

    def __init__(self, inputs: Tensor, onlooker: Onlooker | None) -> None:
        self._inputs = inputs
        self._onlooker = onlooker
        # Of no sample there are no sums.
        self._open = is_plain(inputs) and (onlooker is None or len(inputs) > 0)
        self._stages: list[Stage] = []
        self._links: list[Link] = []
        self._parameters: list[Tensor | None] = []
        self._width = inputs.shape[-1] if self._open else 0

    def takes(self, layer: nn.Module, activation: nn.Module | None) -> bool:
        """Takes in a layer and its activation, if they can be part of the chain."""
        if not self._open or type(layer) is not StandardSparseLayer or not self._quiet(layer):
            return False
        if activation is not None and (
            type(activation) is not nn.ReLU or not self._quiet(activation)
        ):
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
        self._stages.append((layer, activation))
        self._links.append(Link(index, activation is not None))
        self._parameters += (weight, bias)
        self._width = index.shape[0]
        return True

    def end(self) -> Tensor:
        """What the layers make of the inputs."""
        if not self._links:
            return self._inputs
        if self._onlooker is None:
            return chained(*self.chain())
        chain = self.chain()
        outputs = self._onlooker.note(self._stages, chain)
        if outputs is not None:
            return outputs
        values, sums = chained_and_summed(*chain)
        self._onlooker.passed(self._stages, (self._inputs, *values), sums)
        return values[-1]

    def chain(self) -> Chain:
        """What was taken in."""
        return Chain(self._inputs, self._parameters, tuple(self._links))

    def _quiet(self, module: nn.Module) -> bool:
        """Whether calling ``module`` is nothing but its class's forward, whoever looks."""
        if self._onlooker is None:
            return is_quiet(module)
        own = module.__dict__
        if own["_backward_hooks"] or own["_backward_pre_hooks"] or "forward" in own:
            return False
        return not own.get("_compiled_call_impl") and self._onlooker.follows(module)


def _fits(tensor: Tensor, kind: torch.dtype) -> bool:
    return (
        type(tensor) in _PLAIN and tensor.dtype == kind and tensor.is_cpu and tensor.is_contiguous()
    )
