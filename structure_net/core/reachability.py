"""Which units lie on a live path from an input to an output, found by running the model once.

Each linear, convolutional or sparse layer hands on its output as a leaf of the autograd graph.
Where the next one starts, the graph behind its input shows which leaves it reads and through
which operations. Operations that keep channels apart (activations, normalisation, pooling,
sums, flattening of single positions) make a link from unit to unit; behind any other operation,
and between layers of different widths, every unit counts as connected to every other. So what is
reported dead is dead, and where the model mixes channels in other ways dead units may be missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn

from structure_net.core.running import call, preserve
from structure_net.core.sparsity import SparseLayer, SparsePattern
from structure_net.core.statistics import outermost_modules
from structure_net.core.undoing import Undoing, hooked, set_gradients

_PLAIN: Final = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
WEIGHTED: Final = (SparseLayer, *_PLAIN)

_CHANNELWISE: Final = frozenset(
    {
        "Abs",
        "AccumulateGrad",
        "AdaptiveAvgPool2D",
        "Add",
        "Alias",
        "AvgPool2D",
        "Clamp",
        "Clone",
        "CudnnBatchNorm",
        "Div",
        "Elu",
        "Exp",
        "Gelu",
        "Hardsigmoid",
        "Hardswish",
        "Hardtanh",
        "LeakyRelu",
        "MaxPool2DWithIndices",
        "Mish",
        "Mul",
        "NativeBatchNorm",
        "NativeDropout",
        "Neg",
        "Pow",
        "Relu",
        "ReshapeAlias",
        "Selu",
        "Sigmoid",
        "Silu",
        "Softplus",
        "Sub",
        "Tanh",
        "ToCopy",
        "UnsafeView",
        "View",
    }
)

_INPUT: Final = ""

Source = tuple[str, bool]


@dataclass(frozen=True, slots=True)
class _Links:
    """Which units of a layer are connected; all of them without a pattern."""

    shape: tuple[int, int]
    pattern: SparsePattern | None = None

    def into(self, inputs: Tensor) -> Tensor:
        """The outputs with a connection to any of ``inputs``. Shape ``(outputs,)``, bool."""
        if self.pattern is None:
            return inputs.any().expand(self.shape[0])
        found = torch.zeros(self.shape[0], dtype=torch.bool)
        found[self.pattern.rows[inputs[self.pattern.columns]]] = True
        return found

    def behind(self, outputs: Tensor) -> Tensor:
        """The inputs that any of ``outputs`` reads. Shape ``(inputs,)``, bool."""
        if self.pattern is None:
            return outputs.any().expand(self.shape[1])
        found = torch.zeros(self.shape[1], dtype=torch.bool)
        found[self.pattern.columns[outputs[self.pattern.rows]]] = True
        return found


@dataclass(slots=True)
class _Node:
    """A layer as the walk sees it: its connections, and where its input comes from."""

    links: _Links
    sources: set[Source] = field(default_factory=set)
    opaque: bool = False


@dataclass(slots=True)
class _Trace:
    """What a run shows: the layers, those that the outputs read, those summed with others."""

    nodes: dict[str, _Node] = field(default_factory=dict)
    finals: set[str] = field(default_factory=set)
    joined: set[str] = field(default_factory=set)
    leaves: dict[int, str] = field(default_factory=dict)
    kept: list[Tensor] = field(default_factory=list)

    def marked(self, tensor: Tensor, name: str) -> Tensor:
        """``tensor`` as the copy of a leaf that is known as ``name``."""
        leaf = tensor.detach().requires_grad_()
        self.leaves[id(leaf)] = name
        self.kept.append(leaf)
        return leaf.clone()

    def read(self, tensor: Tensor) -> tuple[set[Source], bool]:
        """The layers that ``tensor`` is computed from, and whether anything else may feed it."""
        found, unknown = _behind(tensor, self.leaves)
        if len(found) > 1:
            self.joined |= set(found)
        sources = {source for source in found.items() if source[0] != _INPUT}
        return sources, unknown or _INPUT in found


@dataclass(frozen=True, slots=True)
class Reach:
    """What one layer's units are part of.

    Args:
        connected: The units with a live connection into them. Shape ``(outputs,)``, bool.
        fed: The units that some input of the model reaches. Shape ``(outputs,)``, bool.
        read: The units that a live connection, or an output of the model, reads. Shape
            ``(outputs,)``, bool.
        used: The units from which some output of the model is reached. Shape ``(outputs,)``, bool.
        final: Whether the layer's units are outputs of the model.
        joined: Whether anything reads them together with another layer's, or with an input.
    """

    connected: Tensor
    fed: Tensor
    read: Tensor
    used: Tensor
    final: bool
    joined: bool


def reachable(model: nn.Module, example: Any) -> dict[str, Reach]:
    """Finds the live paths through the layers that run.

    Args:
        model: The model; it runs once, in the mode it is in, and is left as it was.
        example: Inputs: a tensor, a tuple of arguments, or a mapping of named ones.

    Returns:
        For each layer that ran, in order of execution, what its units are part of.
    """
    trace = _traced(model, example)
    fed = _forward(trace.nodes)
    read, used = _backward(trace.nodes, trace.finals)
    return {
        name: Reach(
            node.links.into(torch.ones(node.links.shape[1], dtype=torch.bool)),
            fed[name],
            read[name],
            used[name],
            final=name in trace.finals,
            joined=name in trace.joined,
        )
        for name, node in trace.nodes.items()
    }


def _traced(model: nn.Module, example: Any) -> _Trace:
    trace = _Trace()
    inputs = dict(example) if isinstance(example, Mapping) else example
    undo = Undoing()
    with undo, undo:
        preserve(model, undo)
        for name, module in outermost_modules(model):
            if isinstance(module, SparseLayer) or (
                isinstance(module, _PLAIN) and getattr(module, "groups", 1) == 1
            ):
                before, after = _hooks(trace, name)
                hooked(undo, module, before, before=True, with_kwargs=True)
                hooked(undo, module, after)
        set_gradients(undo, on=True)
        outputs = call(model, _mapped(inputs, trace.marked))
    for tensor in _tensors(outputs):
        trace.finals |= {name for name, _ in trace.read(tensor)[0]}
    return trace


def _hooks(trace: _Trace, name: str) -> tuple[Callable[..., None], Callable[..., Tensor]]:
    """What runs before and after the layer ``name``."""

    def before(layer: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        node = trace.nodes.setdefault(name, _Node(_links(layer)))
        tensor = inputs[0] if inputs else next(iter(named.values()))
        sources, opaque = trace.read(tensor)
        node.sources |= sources
        node.opaque |= opaque or tensor.shape[_channel_dim(layer)] != node.links.shape[1]

    def after(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        return trace.marked(output, name)

    return before, after


def _behind(tensor: Tensor, leaves: Mapping[int, str]) -> tuple[dict[str, bool], bool]:
    """The leaves that ``tensor`` is computed from, each with whether all operations between keep
    channels apart; and whether anything of unknown origin takes part.
    """
    if tensor.grad_fn is None:
        return {}, True
    found: dict[str, bool] = {}
    unknown = False
    seen: set[tuple[Any, bool]] = set()
    stack: list[tuple[Any, bool]] = [(tensor.grad_fn, True)]
    while stack:
        node, apart = stack.pop()
        if (node, apart) in seen:
            continue
        seen.add((node, apart))
        variable = getattr(node, "variable", None)
        if variable is not None:
            if id(variable) in leaves:
                name = leaves[id(variable)]
                found[name] = found.get(name, True) and apart
            continue
        apart = apart and _operation(node) in _CHANNELWISE
        stack.extend((child, apart) for child, _ in node.next_functions if child is not None)
        unknown = unknown or not node.next_functions or not apart
    return found, unknown or not found


def _operation(node: Any) -> str:
    return str(node.name()).removesuffix("Backward0").removesuffix("Backward1")


def _forward(nodes: Mapping[str, _Node]) -> dict[str, Tensor]:
    fed: dict[str, Tensor] = {}
    for name, node in nodes.items():
        inputs = torch.full((node.links.shape[1],), node.opaque or not node.sources)
        for source, apart in node.sources:
            behind = fed.get(source)
            if not apart or behind is None or len(behind) != len(inputs):
                inputs = torch.ones_like(inputs)
            else:
                inputs = inputs | behind
        fed[name] = node.links.into(inputs)
    return fed


def _backward(
    nodes: Mapping[str, _Node], last: set[str]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The units that anything reads, and those on a path to an output."""
    none = {name: torch.full((node.links.shape[0],), name in last) for name, node in nodes.items()}
    every = {name: torch.ones_like(units) for name, units in none.items()}
    read = _read(nodes, every, none)
    used, before = none, -1
    while (total := sum(int(units.sum()) for units in used.values())) != before:
        before, used = total, _read(nodes, used, used)
    return read, used


def _read(
    nodes: Mapping[str, _Node], counted: Mapping[str, Tensor], start: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """``start`` and the units with a live connection to a unit that is ``counted``."""
    result = dict(start)
    for name, node in nodes.items():
        columns = node.links.behind(counted[name])
        for source, apart in node.sources:
            if apart and len(columns) == len(result[source]):
                result[source] = result[source] | columns
            elif bool(columns.any()):
                result[source] = torch.ones_like(result[source])
    return result


def _links(layer: nn.Module) -> _Links:
    if isinstance(layer, SparseLayer):
        pattern = layer.unit_pattern
        rows, columns = pattern.rows.cpu(), pattern.columns.cpu()
        return _Links(pattern.shape, SparsePattern(rows, columns, pattern.shape))
    weight: Tensor = layer.weight  # type: ignore[assignment]  # parametrized or plain
    return _Links((weight.shape[0], weight.shape[1]))


def _channel_dim(layer: nn.Module) -> int:
    if isinstance(layer, SparseLayer):
        return layer.channel_dim
    return -1 if isinstance(layer, nn.Linear) else 1


def _mapped(value: Any, mark: Callable[[Tensor, str], Tensor]) -> Any:
    """``value`` with its floating tensors marked as inputs of the model."""
    if isinstance(value, Tensor):
        return mark(value, _INPUT) if value.is_floating_point() else value
    if isinstance(value, (tuple, list)):
        return type(value)(_mapped(part, mark) for part in value)
    if type(value) is dict:
        return {key: _mapped(part, mark) for key, part in value.items()}
    return value


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)
