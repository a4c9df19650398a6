"""Running a model on an example, and leaving it as it was.

An example is a tensor, a tuple of positional arguments or a mapping of keyword arguments.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any, Final

import torch
from torch import Tensor, nn


def inputs_of(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and named inputs of an example."""
    if isinstance(example, Mapping):
        return (), dict(example)
    if isinstance(example, tuple | list):
        return tuple(example), {}
    return (example,), {}


def call(model: nn.Module, example: Any) -> Any:
    """The model's output on an example."""
    args, kwargs = inputs_of(example)
    return model(*args, **kwargs)


class _Eager:
    """Has torch run what it compiled as it was written, as long as somebody asks for it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._asked = 0
        self._stance: Any = None

    def enter(self) -> None:
        with self._lock:
            self._asked += 1
            # Who compiled something has loaded torch's compiler; to load it takes seconds.
            if self._stance is None and "torch._dynamo" in sys.modules:
                self._stance = torch.compiler.set_stance("force_eager")

    def leave(self) -> None:
        with self._lock:
            self._asked -= 1
            if not self._asked and self._stance is not None:
                stance, self._stance = self._stance, None
                stance.__exit__(None, None, None)


_EAGER: Final = _Eager()


@contextmanager
def uncompiled() -> Iterator[None]:
    """Inside, what `torch.compile` made runs as it was written, so that hooks and modes see it.

    Torch has one setting for all threads: what others compiled runs so meanwhile, too.
    """
    _EAGER.enter()
    try:
        yield
    finally:
        _EAGER.leave()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, each module's own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Whatever forward passes inside do to the model, it is as before afterwards.

    Modes, attributes, buffers (their values, and which tensor stands under a name) and torch's
    global random states come back; so do the rows that an embedding with ``max_norm`` scales.
    Parameters that are written to otherwise keep what was written, and so do the contents of
    lists and dictionaries that a module holds.
    """
    with ExitStack() as after:
        held = [(m, dict(vars(m)), dict(m._buffers)) for m in model.modules()]
        after.callback(_put_attributes, held)
        after.callback(_put_values, [(t, t.detach().clone()) for t in _written(model)])
        after.callback(torch.set_rng_state, torch.get_rng_state())
        if torch.cuda.is_initialized():
            after.callback(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all())
        yield


def _written(model: nn.Module) -> Iterator[Tensor]:
    """The tensors that a forward pass may write to."""
    yield from model.buffers()
    for module in model.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.max_norm is not None:
            yield module.weight


def _put_values(values: list[tuple[Tensor, Tensor]]) -> None:
    for tensor, value in values:
        # A BatchNorm writes its statistics without raising their version counter; written back
        # through `data`, they leave the graphs that the user keeps as they were, too.
        if not torch.equal(tensor, value):
            tensor.data.copy_(value)


def _put_attributes(held: list[tuple[nn.Module, dict[str, Any], dict[str, Any]]]) -> None:
    for module, attributes, buffers in held:
        vars(module).clear()
        vars(module).update(attributes)
        module._buffers.clear()
        module._buffers.update(buffers)
