"""Sparse layers in a row that run as one chain, where nobody looks between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from operator import itemgetter
from typing import Final, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from structure_net.core.capturing import capturing
from structure_net.core.layers import StandardSparseLayer
from structure_net.core.live import identity_of
from structure_net.core.live_index import NAMES
from structure_net.core.noting import Chain
from structure_net.core.products import plain_now
from structure_net.core.sparse_chains import Link, Links, chained, chained_and_summed
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


class KnownChains:
    """The chains of a network as they were last, whose passes serve again.

    A network that is one chain is recognised by its modules and the memory of its tensors, in a
    fraction of the time that it takes to look at each layer. Copies and pickles begin anew.
    """

    def __init__(self) -> None:
        self._links: dict[int, Links] = {}
        self._whole: _Whole | None = None

    def __reduce__(self) -> tuple[type[KnownChains], tuple[()]]:
        return KnownChains, ()

    def links(self, chain: int, links: Sequence[Link]) -> Links:
        """The links of a chain.

        Args:
            chain: Which it is among those that the network runs.
            links: What it is made of.
        """
        known = self._links.get(chain)
        if known == (*links,):
            return known
        self._links[chain] = made = Links(links)
        return made

    def whole(self, stages: list[Stage], inputs: Tensor) -> Chain | None:
        """All stages as one chain, where they were that last and nothing but numbers changed."""
        # A program must not depend on what was noted.
        if capturing() or (whole := self._whole) is None:
            return None
        return whole.again(stages, inputs)

    def note(self, stages: list[Stage], chain: Chain) -> None:
        """All stages were one chain."""
        self.keep({0})
        self._whole = _Whole(stages, chain)

    def keep(self, chains: Iterable[int]) -> None:
        """Lets go of the network as one chain, and of all chains but these, with what they hold."""
        if capturing():
            return
        self._whole = None
        for gone in {*self._links}.difference(chains):
            self._links.pop(gone, None)


class _Whole:
    """A network that was one chain.

    Args:
        stages: All that it is made of.
        chain: What it was.
    """

    def __init__(self, stages: list[Stage], chain: Chain) -> None:
        self._stages, self._links = stages, chain.links
        self._modules = [(one, type(one)) for stage in stages for one in stage if one is not None]
        self._layers = [layer for layer, _ in stages]
        self._places = identity_of([one for layer in self._layers for one in _index_of(layer)])
        self._sizes = [*map(_size, chain.parameters)]

    def again(self, stages: list[Stage], inputs: Tensor) -> Chain | None:
        """The chain, if it is still that; see `KnownChains.whole`."""
        if stages != self._stages or not is_plain(inputs):
            return None
        for module, kind in self._modules:
            if type(module) is not kind or not is_quiet(module):
                return None
        places: list[Tensor] = []
        parameters: list[Tensor | None] = []
        for layer in self._layers:
            places += _index_of(layer)
            parameters += _parameters_of(layer)
        if self._places is None or identity_of(places) != self._places:
            return None
        if [*map(_size, parameters)] != self._sizes or inputs.shape[1] != self._links.widths[0]:
            return None
        if not all(
            one is None or (one.dim() == 1 and _fits(one, inputs.dtype)) for one in parameters
        ):
            return None
        return Chain(inputs, parameters, self._links)


def _index_of(layer: nn.Module) -> tuple[Tensor, ...]:
    """The tensors of a live layer's index."""
    found: tuple[Tensor, ...] = _NAMED(layer._buffers)
    return found


def _parameters_of(layer: nn.Module) -> tuple[Tensor | None, Tensor | None]:
    """A layer's weight and bias."""
    held = layer._parameters
    bias = held.get("bias")
    return held.get("weight"), layer.bias if bias is None else bias  # type: ignore[return-value]  # None or a tensor


def _size(tensor: Tensor | None) -> int:
    return -1 if tensor is None else tensor.numel()


_NAMED: Final = itemgetter(*NAMES)


def through(stages: Iterable[Stage], inputs: Tensor, known: KnownChains | None = None) -> Tensor:
    """``inputs`` through modules in turn; runs of sparse layers in live storage as one chain each.

    A layer is part of a chain where its weights are plain ones on the processor and it has no hook
    and no forward of its own, and so is the ReLU behind it. Under autocast, a transform, a compiler
    or whatever else watches operations, each module runs by itself. The numbers are the same.

    Args:
        stages: Pairs of a layer and the activation behind it, or None.
        inputs: Shape ``(batch, in)``.
        known: Of earlier calls with about the same stages.

    Returns:
        What the last module gives.
    """
    known = KnownChains() if known is None else known
    stages = [*stages]
    onlooker = None if capturing() else _ONLOOKER.get()
    if onlooker is not None and (torch.is_grad_enabled() or not onlooker.pause()):
        onlooker = None
    if onlooker is None and (chain := known.whole(stages, inputs)) is not None:
        return chained(*chain)
    run, number = _Run(inputs, onlooker, partial(known.links, 0)), 0
    chains: set[int] = set()
    for layer, activation in stages:
        if run.takes(layer, activation):
            chains.add(number)
            continue
        hidden = run.end()
        if onlooker is not None:
            onlooker.resume()
        hidden = layer(hidden)
        if activation is not None:
            hidden = activation(hidden)
        if onlooker is not None:
            onlooker.pause()
        number += 1
        run = _Run(hidden, onlooker, partial(known.links, number))
    if not number and stages:
        known.note(stages, run.chain())
    else:
        known.keep(chains)
    hidden = run.end()
    if onlooker is not None:
        onlooker.resume()
    return hidden


def chain_of(stages: Sequence[Stage], inputs: Tensor) -> Chain | None:
    """Modules in turn as one chain, as `through` would run them; None where they are not one."""
    run = _Run(inputs, None, Links)
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
        and not torch._C._is_any_autocast_enabled()
        and not _has_any_global_hook()
    )


class _Run:
    """Layers that wait to be computed as one chain.

    Args:
        inputs: Of the first of them.
        onlooker: Who is told of it.
        known: Makes them links, or knows these.
    """

    def __init__(
        self,
        inputs: Tensor,
        onlooker: Onlooker | None,
        known: Callable[[Sequence[Link]], Links],
    ) -> None:
        self._inputs = inputs
        self._known = known
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
        weight, bias = _parameters_of(layer)
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
        return Chain(self._inputs, self._parameters, self._known(self._links))

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
