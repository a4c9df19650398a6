"""From a model and an example to a ledger: the model is exported once, and the rules walk over its
operations.

`torch.export` sees nearly every model that users bring. The export runs in evaluation mode, without
gradients and with the attention fast path off, so that operations are the ones that train; the
model is as it was afterwards. Where training may run more (auxiliary heads, sampling), a second
export in training mode is taken together with the first.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import (
    AbstractContextManager,
    ExitStack,
    contextmanager,
    nullcontext,
    redirect_stderr,
)
from contextvars import copy_context
from dataclasses import is_dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.fx import graph_module

from structure_net.core.running import inputs_of
from structure_net.core.sparsity import SparseLayer
from structure_net.core.wrapping import wrapped
from structure_net.errors import TraceError
from structure_net.graph.ledger import Ledger
from structure_net.graph.parametrizations import whole_parametrizations
from structure_net.graph.recording import recording
from structure_net.graph.walk import Exported, walk

if TYPE_CHECKING:
    from torch.export import ExportedProgram

_TURNS: Final[dict[int, threading.RLock]] = {}
"""By process: a trace is one thread's at a time, as PyTorch keeps the state of an export in
globals, and Python's parser, which reads a class's source, is not safe either. A child that is
forked meanwhile has a lock of its own."""
_HOMES: Final = tuple(Path(path).parent for path in (torch.__file__, __file__))

Example = Tensor | tuple[Any, ...] | list[Any] | Mapping[str, Any]


def ledger_of(model: nn.Module, example: Example) -> Ledger:
    """Exports ``model`` and walks over its operations.

    Args:
        model: Any module that `torch.export` can trace; it is not changed.
        example: A tensor, a tuple of positional inputs or a mapping of named ones.

    Raises:
        TraceError: The model is wrapped, or cannot be exported; the message says where and what to
            do.
    """
    if reason := wrapped(model):
        raise TraceError(reason)
    args, kwargs = inputs_of(example)

    def trained() -> Exported | None:
        try:
            return _export(model, args, kwargs, training=True)
        except TraceError:
            return None

    with _TURNS.setdefault(os.getpid(), threading.RLock()):
        return walk(model, _export(model, args, kwargs, training=False), trained)


def _export(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], *, training: bool
) -> Exported:
    found = _export_with(_backends_on(), model, args, kwargs, training=training)
    if _has_backends(found[0]):
        found = _export_with(nullcontext(), model, args, kwargs, training=training)
    return found


def _export_with(
    backends: AbstractContextManager[None],
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    training: bool,
) -> Exported:
    from torch.export import export

    with ExitStack() as stack:
        for context in (
            backends,
            _mode(model, training=training),
            _leaves(model),
            whole_parametrizations(model),
            _same_random_state(),
            _plain_attention(),
            _given_masks(),
            _plain_output(model),
        ):
            stack.enter_context(context)
        stack.enter_context(torch.no_grad())
        stack.enter_context(_quiet())
        stack.enter_context(_no_sources_left())
        record = stack.enter_context(recording(model))
        try:
            # In a context of its own: PyTorch's settings leave a variable there each time.
            program = copy_context().run(export, model, args, kwargs, strict=False)
            return program, record
        except Exception as error:
            # The user's own code ran, which may raise anything; it is told on, not swallowed.
            raise TraceError(_explanation(model, error)) from error


def _explanation(model: nn.Module, error: Exception) -> str:
    message = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
    where = _own_line(error)
    return (
        f"{type(model).__name__} cannot be traced: {type(error).__name__}: {message[:300]}{where}."
        " The forward must run on the example in evaluation mode without branching on values of"
        " tensors; where it does, pass a submodule or replace the branch (torch.where, torch.cond)."
    )


def _own_line(error: Exception) -> str:
    """The last line of the model's own code that the error went through."""
    trace, found = error.__traceback__, ""
    while trace is not None:
        path = trace.tb_frame.f_code.co_filename
        if Path(path).is_file() and not any(Path(path).is_relative_to(home) for home in _HOMES):
            found = f" (at {path}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return found


@contextmanager
def _mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Every submodule in one mode, and each in its own mode again afterwards, with the attributes
    that it had, and what was in their lists and dictionaries."""
    modules = list(model.modules())
    held = [dict(vars(module)) for module in modules]
    caches = [(value, value.copy()) for kept in held for value in _containers(kept)]
    flat = [(m, list(m._flat_weights)) for m in modules if isinstance(m, nn.RNNBase)]
    try:
        for module in modules:
            module.training = training
        yield
    finally:
        for module, attributes in zip(modules, held, strict=True):
            vars(module).clear()
            vars(module).update(attributes)
        for cache, content in caches:
            cache.clear()
            (cache.extend if isinstance(cache, list) else cache.update)(content)
        for module, weights in flat:
            module._flat_weights = weights


def _containers(attributes: Mapping[str, Any]) -> Iterator[Any]:
    """The lists, sets and dictionaries that a module's own code keeps."""
    for name, value in attributes.items():
        if type(value) in (list, dict, set) and not name.startswith("_"):
            yield value


@contextmanager
def _leaves(model: nn.Module) -> Iterator[None]:
    """Sparse layers as one operation each."""
    layers = {name: m for name, m in model.named_modules() if isinstance(m, SparseLayer)}
    inner = [name for name in layers if any(name.startswith(f"{other}.") for other in layers)]
    if layers:
        _register_leaf()
    try:
        for name, layer in layers.items():
            if name not in inner:
                layer.__dict__["forward"] = _leaf_forward(layer, name)
        yield
    finally:
        for layer in layers.values():
            layer.__dict__.pop("forward", None)


def _leaf_forward(layer: SparseLayer, name: str) -> Any:
    def forward(x: Tensor) -> Tensor:
        shape = list(layer.output_shape(tuple(x.shape)))
        out: Tensor = torch.ops.structure_net.leaf(x, name, shape, layer.channel_dim)
        return out

    return forward


def _register_leaf() -> None:
    """Registers the operation that stands for a layer which rearranges itself; once."""
    if hasattr(torch.ops.structure_net, "leaf"):
        return

    def leaf(x: Tensor, layer: str, shape: list[int], channel: int) -> Tensor:
        return x.new_empty(shape)

    operation = torch.library.custom_op(
        "structure_net::leaf",
        leaf,
        mutates_args=(),
        schema="(Tensor x, str layer, int[] shape, int channel) -> Tensor",
    )
    operation.register_fake(leaf)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings, log entries and listings that an export writes for its developers."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


class _NoSources:
    """Stands in for PyTorch's store of the source text of graphs, and keeps none."""

    def cache(self, *text: object) -> str:
        """The name of the file in which the text is said to be."""
        return "<exported>"


@contextmanager
def _no_sources_left() -> Iterator[None]:
    """Graphs that are compiled within leave no source text behind.

    PyTorch keeps the text of each for good, so that a traceback can show it, and an export compiles
    several: a program that edits networks for hours would hold more and more of it.
    """
    before = getattr(graph_module, "_loader", None)
    vars(graph_module)["_loader"] = _NoSources()
    try:
        yield
    finally:
        vars(graph_module)["_loader"] = before


@contextmanager
def _same_random_state() -> Iterator[None]:
    """Random numbers go on as if nothing had run."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        yield


@contextmanager
def _backends_on() -> Iterator[None]:
    """Leaves oneDNN and cuDNN on, which PyTorch's export switches off for all threads: what others
    train with meanwhile would be rounded in another way."""
    from torch.export import _trace

    name = "_ignore_backend_decomps"
    before = getattr(_trace, name, nullcontext)
    vars(_trace)[name] = nullcontext
    try:
        yield
    finally:
        vars(_trace)[name] = before


def _has_backends(program: ExportedProgram) -> bool:
    """Whether an operation is one of a library's, which it may become where that is on."""
    names = (str(node.target) for node in program.graph.nodes if node.op == "call_function")
    return any("mkldnn" in name or "cudnn" in name for name in names)


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention as it trains: the fused inference kernels of `nn.MultiheadAttention` are off."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def _given_masks() -> Iterator[None]:
    """Transformers take a mask as it is: whether it is causal is a hint for kernels, for which
    PyTorch looks at its values."""
    from torch.nn.modules import transformer

    name = "_detect_is_causal_mask"
    before = getattr(transformer, name)

    def given(mask: object, is_causal: bool | None = None, size: int | None = None) -> bool:
        return is_causal is True

    setattr(transformer, name, given)
    try:
        yield
    finally:
        setattr(transformer, name, before)


@contextmanager
def _plain_output(model: nn.Module) -> Iterator[None]:
    """The model returns its tensors alone: caches and other objects are left out."""

    def flatten(module: nn.Module, inputs: object, output: object) -> object:
        return tuple(_tensors(output)) or output

    hook = model.register_forward_hook(flatten)
    try:
        yield
    finally:
        hook.remove()


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(tuple(value.values()))
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _tensors(entry)
    elif is_dataclass(value) and not isinstance(value, type):
        yield from _tensors(tuple(vars(value).values()))
