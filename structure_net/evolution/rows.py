"""Networks that are layers in a row and nothing else, whose batches are noted without a hook.

Where all modules are torch's own or ours, and of kinds that are known here, they say by themselves
which layers there are, behind which activation their units end up, and who reads these. So nothing
has to be watched: each module runs as it would, but for the ReLU behind a layer, which runs by the
call that notes what it gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import zip_longest
from typing import Any, Final, NamedTuple

from torch import Tensor, nn

from structure_net.core.chaining import chain_of, is_plain, is_quiet
from structure_net.core.layers import StandardSparseLayer
from structure_net.core.network_factory import StandardNetwork
from structure_net.core.noting import Chain
from structure_net.core.row_notes import Wanted
from structure_net.evolution.calls import Call, KnownChain, Take

_LINEAR: Final[frozenset[type[nn.Module]]] = frozenset((nn.Linear, StandardSparseLayer))
_CONVOLUTIONS: Final = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_LAYERS: Final[frozenset[type[nn.Module]]] = _LINEAR.union(_CONVOLUTIONS)
_BETWEEN: Final[frozenset[type[nn.Module]]] = frozenset(
    (
        *(nn.ReLU, nn.Identity, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
        *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
    )
)
"""What works number by number, or unit by unit. In evaluation mode ReLU alone may write to what it
takes."""
_POOLING: Final[frozenset[type[nn.Module]]] = frozenset(
    (
        *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
        *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    )
)
"""What leaves units what they are where they have positions."""


class Row:
    """Layers in a row.

    Args:
        containers: The network, and what holds modules on the way to them.
        modules: All the others, in order.
        called: The layers' names.
        plan: Of their kinds.

    Attributes:
        known: Its layers; what they read and end up with are numbers of what is ``wanted``.
        wanted: What is noted of the tensors between modules, in order.
        readers: By layer: the layers behind it that read its units one by one.
    """

    def __init__(
        self,
        containers: Sequence[nn.Module],
        modules: Sequence[nn.Module],
        called: Sequence[str],
        plan: _Plan,
    ) -> None:
        self._all = (*containers, *modules)
        self._before = modules[: plan.first]
        self._steps = [*zip(modules[plan.first :], plan.numbers, plan.gates, strict=True)]
        stages = [modules[one.at] for one in plan.stages]
        widths = [*map(_widths, stages)]
        calls = [
            Call(name, layer, one.axis, number, size=width[1], done=True)
            for number, (name, layer, one, width) in enumerate(
                zip(called, stages, plan.stages, widths, strict=True)
            )
        ]
        behind = [None if one.gate < 0 else modules[one.gate] for one in plan.stages]
        self.known = KnownChain(
            tuple(zip(stages, behind, strict=True)), tuple(calls), plan.reads, plan.ends
        )
        self.wanted: Sequence[Wanted] = [
            Wanted(widths[stage][ends], ends, rows) for stage, ends, rows in plan.noted
        ]
        self.readers = {
            name: () if one.flat or number + 1 == len(called) else (called[number + 1],)
            for number, (name, one) in enumerate(zip(called, plan.stages, strict=True))
        }
        axis = plan.stages[0].axis
        self._dimensions = 2 if axis == -1 else 1 - axis
        self._chains = plan.chains
        self._chain: tuple[Chain, list[_Held]] | None = None

    def begin(self, inputs: object) -> Tensor | None:
        """What the first layer takes; None where the row cannot be noted.

        It cannot where somebody else looks at a module, or at operations, and where the layer does
        not take numbers on the processor that lie as they do in general.
        """
        if not isinstance(inputs, Tensor) or not all(map(is_quiet, self._all)):
            return None
        hidden = inputs
        for module in self._before:
            hidden = module.forward(hidden)
        flat = hidden
        if hidden.dim() > 2:
            if not hidden.is_contiguous():
                return None
            flat = hidden.flatten(1)
        fits = is_plain(flat) and hidden.dim() == self._dimensions and not hidden.is_neg()
        return hidden if fits and hidden.shape[1] == self.wanted[0].units else None

    def chain(self, inputs: Tensor) -> Chain | None:
        """The layers as one chain; None where they cannot run as one, or more stands between.

        Args:
            inputs: What `begin` gave, so that nobody looks.
        """
        if not self._chains:
            return None
        if self._chain is not None:
            chain, held = self._chain
            if inputs.dtype is chain.inputs.dtype and all(one.stands() for one in held):
                return chain._replace(inputs=inputs)
        found = chain_of(self.known.stages, inputs)
        if found is not None:
            self._chain = found, [_Held(layer) for layer, _ in self.known.stages]
        return found

    def run(self, inputs: Tensor, take: Take) -> Tensor:
        """What the last module gives; ``take`` is given what is ``wanted``, each before the next
        module runs.

        Args:
            inputs: Of the first layer.
            take: See `Straight.run`.
        """
        hidden = take(0, inputs, gate=False)
        for module, number, gate in self._steps:
            if not gate:
                hidden = module.forward(hidden)
            if number >= 0:
                hidden = take(number, hidden, gate=gate)
        return hidden


class _Held:
    """What a live layer holds, as it was when it was found to be a part of a chain.

    Args:
        layer: The layer.
    """

    def __init__(self, layer: nn.Module) -> None:
        self._parameters, self._buffers = layer._parameters, layer._buffers
        self._weight, self._bias = layer._parameters["weight"], layer._parameters.get("bias")
        # Edits exchange all tensors of an index.
        self._columns = layer._buffers["columns"]
        self._forms = _form(self._weight), _form(self._bias)

    def stands(self) -> bool:
        """Whether it holds the same tensors, and these are of the same form."""
        weight, bias = self._parameters["weight"], self._parameters.get("bias")
        return (
            weight is self._weight
            and bias is self._bias
            and self._buffers["columns"] is self._columns
            and (_form(weight), _form(bias)) == self._forms
        )


def _form(tensor: Tensor | None) -> object:
    """What changes where a tensor is given data of another kind, size or place."""
    if tensor is None:
        return None
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device


class _Stage(NamedTuple):
    """A layer in a row of modules.

    Args:
        at: Which module it is.
        axis: Of its units, negative.
        gate: The ReLU that its units end up behind; -1 if there is none.
        flat: Whether units are no more told apart in front of the next layer.
    """

    at: int
    axis: int
    gate: int
    flat: bool

    @property
    def end(self) -> int:
        """The module that gives what its units end up with."""
        return max(self.at, self.gate)


class _Plan(NamedTuple):
    """What the kinds of the modules of a row say of it.

    Args:
        first: The first layer.
        stages: All layers.
        numbers: By module, from the first layer on: which of the tensors that are noted it gives;
            -1 if none.
        gates: By module, from the first layer on: whether it is a ReLU that runs as what it gives
            is noted.
        reads: By layer: which of the tensors that are noted it takes.
        ends: By layer: which of them its units end up with.
        noted: Of each tensor that is noted: the layer whose units these are, or which reads them;
            whether it is the former; and whether its samples are rows.
        chains: Whether there are layers of our own and ReLUs behind them, and nothing else.
    """

    first: int
    stages: tuple[_Stage, ...]
    numbers: tuple[int, ...]
    gates: tuple[bool, ...]
    reads: tuple[int, ...]
    ends: tuple[int, ...]
    noted: tuple[tuple[int, bool, bool], ...]
    chains: bool


def row_of(network: nn.Module) -> Row | None:
    """The network as layers in a row; None where it is not known to be one."""
    containers: list[nn.Module] = []
    found = [*_unrolled("", network, containers)]
    plan = _plan(tuple([type(module) for _, module in found]))
    modules = [module for _, module in found]
    if plan is None or not all(map(_is_usual, modules)):
        return None
    names = [found[one.at][0] for one in plan.stages]
    if len({modules[one.at] for one in plan.stages}) < len(names):
        return None
    return Row(containers, modules, names, plan)


def _is_usual(module: nn.Module) -> bool:
    """Whether a module of a kind that is known here does what most of its kind do."""
    one: Any = module
    if type(module) in _CONVOLUTIONS:
        # What it gives lies like its weight.
        return bool(one.weight.is_contiguous())
    if type(module) is nn.Flatten:
        return bool(one.start_dim == 1 and one.end_dim == -1)
    return not getattr(module, "return_indices", False) if type(module) in _POOLING else True


def _widths(layer: nn.Module) -> tuple[int, int]:
    """How many units a layer reads, and has."""
    one: Any = layer
    if type(layer) is nn.Linear:
        return one.in_features, one.out_features
    return one.in_channels, one.out_channels


@lru_cache
def _plan(kinds: tuple[type[nn.Module], ...]) -> _Plan | None:
    """What the kinds of modules say; None where they are no row that is known here."""
    if _LAYERS.isdisjoint(kinds) or not _fit(kinds):
        return None
    stages: list[_Stage] = []
    for place, kind in enumerate(kinds):
        if kind in _LAYERS:
            stages.append(_Stage(place, _axis(kind), -1, flat=False))
        elif stages and kind is nn.Flatten:
            stages[-1] = stages[-1]._replace(flat=True)
        elif stages and kind is nn.ReLU and stages[-1].gate < 0 and not stages[-1].flat:
            stages[-1] = stages[-1]._replace(gate=place)
    first = stages[0].at
    noted = {one.at - 1: (number, False, False) for number, one in enumerate(stages)}
    for number, one in enumerate(stages):
        noted[one.end] = number, True, one.axis == -1
    numbers = {place: number for number, place in enumerate(sorted(noted))}
    gates, behind = {one.gate for one in stages}, range(first, len(kinds))
    own = (StandardSparseLayer, nn.ReLU)
    return _Plan(
        first=first,
        stages=tuple(stages),
        numbers=tuple(numbers.get(place, -1) for place in behind),
        gates=tuple(place in gates for place in behind),
        reads=tuple(numbers[one.at - 1] for one in stages),
        ends=tuple(numbers[one.end] for one in stages),
        noted=tuple(noted[place] for place in sorted(noted)),
        chains=all(
            kind in own and (kind is own[0] or place in gates)
            for place, kind in enumerate(kinds[first:], first)
        ),
    )


def _axis(kind: type[nn.Module]) -> int:
    """The axis of the units of a layer, negative."""
    return -1 if kind in _LINEAR else -2 - _CONVOLUTIONS.index(kind)


def _fit(kinds: Iterable[type[nn.Module]]) -> bool:
    """Whether modules of these kinds take what those in front of them give."""
    shape = "any"
    for kind in kinds:
        behind = _SHAPES.get((kind, shape))
        if behind is None:
            return False
        shape = behind
    return True


def _shapes() -> dict[tuple[type[nn.Module], str], str]:
    """What stands behind a module of each kind, by what stands in front of it: "rows" of units, or
    units with "positions"; or "any" inputs, in front of the first layer."""
    found: dict[tuple[type[nn.Module], str], str] = {}
    for kind in _BETWEEN:
        found |= {(kind, shape): shape for shape in ("any", "rows", "positions")}
    for kind in _POOLING:
        found |= {(kind, shape): shape for shape in ("any", "positions")}
    for kind in _LINEAR:
        found |= {(kind, shape): "rows" for shape in ("any", "rows")}
    for kind in _CONVOLUTIONS:
        found |= {(kind, shape): "positions" for shape in ("any", "positions")}
    return found | {(nn.Flatten, "any"): "any", (nn.Flatten, "positions"): "rows"}


def _unrolled(
    name: str, module: nn.Module, containers: list[nn.Module]
) -> Iterable[tuple[str, nn.Module]]:
    """The modules that run one behind the other in place of ``module``, with their names."""
    kind, parts = type(module), module._modules
    if kind is StandardNetwork and parts.keys() == {"layers", "activations"}:
        containers.append(module)
        yield "", _FLATTEN
        layers, activations = (_named(name, p, parts[p]) for p in ("layers", "activations"))
        for pair in zip_longest(layers, activations):
            for one in pair:
                if one is not None:
                    yield from _unrolled(one[0], one[1], containers)
    elif kind is nn.Sequential:
        containers.append(module)
        for one in _named(name, "", module):
            yield from _unrolled(one[0], one[1], containers)
    else:
        yield name, module


def _named(name: str, part: str, module: nn.Module | None) -> Iterable[tuple[str, nn.Module]]:
    """The children of a module with their names."""
    assert module is not None
    before = ".".join(filter(None, (name, part)))
    for number, child in module._modules.items():
        assert child is not None
        yield f"{before}.{number}" if before else number, child


_FLATTEN: Final = nn.Flatten()
_SHAPES: Final = _shapes()
