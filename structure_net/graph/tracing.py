"""From a model and an example to a ledger: the model is exported once, and the rules walk over its
operations.

`torch.export` sees nearly every model that users bring. The export runs in evaluation mode, without
gradients and with the attention fast path off, so that operations are the ones that train; the
model is as it was afterwards. Where training may run more (auxiliary heads, sampling), a second
export in training mode is taken together with the first.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextvars import copy_context
from dataclasses import dataclass, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from structure_net.core.compiling import load_registries
from structure_net.core.running import inputs_of, same_random_states
from structure_net.core.sparsity import SparseLayer
from structure_net.core.undoing import Undoing, hooked, replaced, set_gradients
from structure_net.core.wrapping import wrapped
from structure_net.errors import TraceError
from structure_net.graph.aside import plain, quiet
from structure_net.graph.ledger import Ledger
from structure_net.graph.parametrizations import whole_parametrizations
from structure_net.graph.recording import Recording, follow
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
    # PyTorch's exports change settings of the whole process; few models need that.
    way = _Way(training)
    try:
        found = _export_by(way, model, args, kwargs)
    except TraceError as error:
        if not _compares_tensors(error):
            raise
        way = replace(way, operators=True)
        found = _export_by(way, model, args, kwargs)
    if _has_backends(found[0]):
        found = _export_by(replace(way, libraries=True), model, args, kwargs)
    return found


@dataclass(frozen=True, slots=True)
class _Way:
    """How a model is exported: in which mode, and what of `plain` PyTorch does for all threads."""

    training: bool
    libraries: bool = False
    operators: bool = False


def _export_by(
    way: _Way, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Exported:
    from torch.export import export

    undo = Undoing()
    with undo, undo:
        recorded = _arrange(way, model, undo)
        try:
            # In a context of its own: PyTorch's settings leave a variable there each time.
            program = copy_context().run(export, model, args, kwargs, strict=False)
            return program, recorded
        except Exception as error:
            # The user's own code ran, which may raise anything; it is told on, not swallowed.
            raise TraceError(_explanation(model, error)) from error


def _arrange(way: _Way, model: nn.Module, undo: Undoing) -> Recording:
    """Readies a model and the process for an export, until ``undo`` undoes it."""
    if way.operators:
        load_registries()
    plain(undo, libraries=way.libraries, operators=way.operators)
    _set_mode(model, undo, training=way.training)
    _make_leaves(model, undo)
    whole_parametrizations(model, undo)
    same_random_states(undo)
    hooked(undo, model, _flatten)
    set_gradients(undo, on=False)
    quiet(undo)
    return follow(model, undo)


def _compares_tensors(error: TraceError) -> bool:
    """Whether the model's code branches on a tensor, as Python's ``max`` of tensors does."""
    from torch._subclasses.fake_tensor import DataDependentOutputException
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

    kinds = DataDependentOutputException, GuardOnDataDependentSymNode
    return isinstance(error.__cause__, kinds)


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


def _set_mode(model: nn.Module, undo: Undoing, *, training: bool) -> None:
    """Every submodule in one mode, until ``undo`` gives each its own mode, with the attributes that
    it had, and what was in their lists and dictionaries."""
    modules = list(model.modules())
    held = [(module, dict(vars(module))) for module in modules]
    caches = [(value, value.copy()) for _, kept in held for value in _containers(kept)]
    flat = [(m, list(m._flat_weights)) for m in modules if isinstance(m, nn.RNNBase)]
    undo.later(partial(_put_back, held, caches, flat))
    for module in modules:
        module.training = training


def _put_back(
    held: list[tuple[nn.Module, dict[str, Any]]],
    caches: list[tuple[Any, Any]],
    flat: list[tuple[nn.RNNBase, list[Any]]],
) -> None:
    for module, attributes in held:
        vars(module).clear()
        vars(module).update(attributes)
    for cache, content in caches:
        cache.clear()
        (cache.extend if isinstance(cache, list) else cache.update)(content)
    for recurrent, weights in flat:
        recurrent._flat_weights = weights


def _containers(attributes: Mapping[str, Any]) -> Iterator[Any]:
    """The lists, sets and dictionaries that a module's own code keeps."""
    for name, value in attributes.items():
        if type(value) in (list, dict, set) and not name.startswith("_"):
            yield value


def _make_leaves(model: nn.Module, undo: Undoing) -> None:
    """Sparse layers as one operation each, until ``undo`` undoes it."""
    layers = {name: m for name, m in model.named_modules() if isinstance(m, SparseLayer)}
    inner = [name for name in layers if any(name.startswith(f"{other}.") for other in layers)]
    if layers:
        _register_leaf()
    for name, layer in layers.items():
        if name not in inner:
            replaced(undo, vars(layer), "forward", _leaf_forward(layer, name))


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


def _has_backends(program: ExportedProgram) -> bool:
    """Whether an operation is one of a library's, which it may become where that is on."""
    names = (str(node.target) for node in program.graph.nodes if node.op == "call_function")
    return any("mkldnn" in name or "cudnn" in name for name in names)


def _flatten(module: nn.Module, inputs: object, output: object) -> object:
    """The tensors of an output alone: caches and other objects are left out."""
    return tuple(_tensors(output)) or output


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
