"""Networks that are layers in a row and nothing else, whose batches are noted without a hook.

Where all modules are torch's own or ours, and of kinds that are known here, they say by themselves
which layers there are, behind which activation their units end up, and who reads these. So nothing
has to be watched: each module runs as it would, but for the ReLU behind a layer, which runs by the
call that notes what it gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final, NamedTuple

from torch import Tensor, nn

from structure_net.core.chaining import chain_of, is_plain, is_quiet
from structure_net.core.layers import StandardSparseLayer
from structure_net.core.network_factory import StandardNetwork
from structure_net.core.noting import Chain
from structure_net.core.row_notes import Wanted
from structure_net.evolution.calls import Call, KnownChain, Take
from structure_net.evolution.unit_layers import unit_axis

_LINEAR: Final = frozenset((nn.Linear, StandardSparseLayer))
_CONVOLUTIONS: Final = frozenset((nn.Conv1d, nn.Conv2d, nn.Conv3d))
_LAYERS: Final = _LINEAR | _CONVOLUTIONS
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
        names: Of the layers among them.

    Attributes:
        known: Its layers; what they read and end up with are numbers of what is ``wanted``.
        wanted: What is noted of the tensors between modules, in order.
        readers: By layer: the layers behind it that read its units one by one.
    """

    def __init__(
        self,
        containers: Sequence[nn.Module],
        modules: Sequence[nn.Module],
        names: Mapping[nn.Module, str],
    ) -> None:
        self._all = (*containers, *modules)
        first = next(at for at, module in enumerate(modules) if module in names)
        self._before, behind = modules[:first], modules[first:]
        stages = _stages(behind)
        reads, ends = [one.at for one in stages], [one.end for one in stages]
        noted = sorted({*reads, *ends})
        numbers = {place: number for number, place in enumerate(noted)}
        self._steps = _steps(behind, stages, numbers)
        self.known = KnownChain(
            tuple((one.layer, one.activation) for one in stages),
            tuple(_call(names[one.layer], number, one) for number, one in enumerate(stages)),
            tuple(numbers[place] for place in reads),
            tuple(numbers[place] for place in ends),
        )
        self.wanted: Sequence[Wanted] = _wanted(stages, noted)
        self.readers = {
            names[one.layer]: () if after is None or one.flat else (names[after.layer],)
            for one, after in zip_longest(stages, stages[1:])
        }
        self._dimensions = 2 if stages[0].axis == -1 else 1 - stages[0].axis
        listed = [module for stage in self.known.stages for module in stage if module is not None]
        self._chains = listed == list(behind) and all(
            type(one.layer) is StandardSparseLayer for one in stages
        )

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
        """The layers as one chain; None where they cannot run as one, or more stands between."""
        return chain_of(self.known.stages, inputs) if self._chains else None

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


class _Step(NamedTuple):
    """One module, the number of what is noted behind it (-1 if nothing is), and whether it is a
    ReLU that runs as that is noted."""

    module: nn.Module
    number: int
    gate: bool


class _Stage:
    """A layer in a row of modules.

    Args:
        layer: It.
        at: The number of modules in front of it.

    Attributes:
        activation: The ReLU that its units end up behind, if any.
        end: Behind how many modules they do.
        flat: Whether units are no more told apart in front of the next layer.
        axis: Of its units, negative.
    """

    def __init__(self, layer: nn.Module, at: int) -> None:
        self.layer = layer
        self.at = at
        self.activation: nn.Module | None = None
        self.end = at + 1
        self.flat = False
        axis = unit_axis(layer)
        assert axis is not None
        self.axis = axis

    @property
    def widths(self) -> tuple[int, int]:
        """How many units it reads, and has."""
        one: Any = self.layer
        if self.axis == -1:
            return one.in_features, one.out_features
        return one.in_channels, one.out_channels


def _stages(modules: Iterable[nn.Module]) -> list[_Stage]:
    """The layers among modules of which the first is one."""
    found: list[_Stage] = []
    for place, module in enumerate(modules):
        kind = type(module)
        if kind in _LAYERS:
            found.append(_Stage(module, place))
        elif kind is nn.Flatten:
            found[-1].flat = True
        elif kind is nn.ReLU and found[-1].activation is None and not found[-1].flat:
            found[-1].activation, found[-1].end = module, place + 1
    return found


def _steps(
    modules: Sequence[nn.Module], stages: Sequence[_Stage], numbers: Mapping[int, int]
) -> list[_Step]:
    """What runs, in order, and what is noted of it."""
    gates = {one.end for one in stages if one.activation is not None}
    return [
        _Step(module, numbers.get(place, -1), place in gates)
        for place, module in enumerate(modules, 1)
    ]


def _wanted(stages: Sequence[_Stage], noted: Sequence[int]) -> list[Wanted]:
    """What is noted at each place."""
    found = {one.at: Wanted(one.widths[0], ends=False, rows=False) for one in stages}
    for one in stages:
        found[one.end] = Wanted(one.widths[1], ends=True, rows=one.axis == -1)
    return [found[place] for place in noted]


def _call(name: str, number: int, stage: _Stage) -> Call:
    """The call of a layer."""
    return Call(name, stage.layer, stage.axis, number, size=stage.widths[1], done=True)


def row_of(network: nn.Module, layers: Mapping[str, tuple[nn.Module, nn.Module]]) -> Row | None:
    """The network as layers in a row; None where it is not known to be one.

    Args:
        network: Any.
        layers: See `unit_layers.observed_layers`.
    """
    containers: list[nn.Module] = []
    modules = [*_unrolled(network, containers)]
    names = {layer: name for name, (layer, _) in layers.items()}
    found = [module for module in modules if type(module) in _LAYERS]
    if not found or len(set(found)) < len(found) or set(found) != names.keys():
        return None
    return Row(containers, modules, names) if _known(modules) else None


def _known(modules: Iterable[nn.Module]) -> bool:
    """Whether modules, some of which are layers, stand in an order that is known here."""
    shape = "any"
    for module in modules:
        shapes = _SHAPES.get((type(module), shape)) if _is_usual(module) else None
        if shapes is None:
            return False
        shape = shapes
    return True


def _is_usual(module: nn.Module) -> bool:
    """Whether a module of a kind that is known here does what most of its kind do."""
    one: Any = module
    if type(module) in _CONVOLUTIONS:
        # What it gives lies like its weight.
        return bool(one.weight.is_contiguous())
    if type(module) is nn.Flatten:
        return bool(one.start_dim == 1 and one.end_dim == -1)
    return not getattr(module, "return_indices", False)


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


def _unrolled(module: nn.Module, containers: list[nn.Module]) -> Iterable[nn.Module]:
    """The modules that run one behind the other in place of ``module``."""
    if type(module) is StandardNetwork:
        containers.append(module)
        yield nn.Flatten()
        for pair in zip_longest(module.layers, module.activations):
            for one in pair:
                if one is not None:
                    yield from _unrolled(one, containers)
    elif type(module) is nn.Sequential:
        containers.append(module)
        for one in module:
            yield from _unrolled(one, containers)
    else:
        yield module


_SHAPES: Final = _shapes()
