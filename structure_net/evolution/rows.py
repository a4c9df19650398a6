"""Networks that are layers in a row and nothing else, whose batches are noted without a hook.

Where all modules are torch's own or ours, and of kinds that are known here, they say by themselves
which layers there are, behind which activation their units end up, and who reads these. So nothing
has to be watched: each module runs as it would, and what is noted of some of the tensors between
them is computed of several at once, while they are in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Final

from torch import Tensor, nn

from structure_net.core.chaining import chain_of, is_plain, is_quiet
from structure_net.core.layers import StandardSparseLayer
from structure_net.core.network_factory import StandardNetwork
from structure_net.core.noting import Chain
from structure_net.core.row_notes import Wanted
from structure_net.evolution.calls import Call, KnownChain

_LAYERS: Final = frozenset((nn.Linear, StandardSparseLayer))
_BETWEEN: Final = frozenset((nn.ReLU, nn.BatchNorm1d, nn.Dropout, nn.Identity))
"""What works unit by unit. In evaluation mode ReLU alone may write to what it takes, and leaves
what another ReLU gave as it is."""
_BEFORE: Final = _BETWEEN | {nn.Flatten}

_NEAR: Final = 1 << 20
"""Bytes that are noted at once: about what the nearer caches hold."""

Take = Callable[[int, Sequence[Tensor]], None]
"""Is given values in order, and the number of the first of them."""


class Row:
    """Layers in a row.

    Args:
        containers: The network, and what holds modules on the way to them.
        modules: All the others, in order.
        names: Of the layers among them.

    Attributes:
        known: Its layers; what they read and end up with are numbers of what is ``wanted``.
        wanted: What is noted of the tensors between modules, in order.
        readers: By layer: the layer behind it.
    """

    def __init__(
        self,
        containers: Sequence[nn.Module],
        modules: Sequence[nn.Module],
        names: Mapping[nn.Module, str],
    ) -> None:
        self._all = (*containers, *modules)
        first = next(at for at, module in enumerate(modules) if module in names)
        self._before, self._modules = modules[:first], modules[first:]
        places = _Places(self._modules)
        noted = sorted({*places.reads, *places.ends})
        numbers = {place: number for number, place in enumerate(noted)}
        self._noted = [place in numbers for place in range(1, 1 + len(self._modules))]
        self.known = KnownChain(
            tuple(places.stages),
            tuple(
                Call(names[layer], layer, -1, number, size=places.widths[end], done=True)
                for number, ((layer, _), end) in enumerate(
                    zip(places.stages, places.ends, strict=True)
                )
            ),
            tuple(numbers[place] for place in places.reads),
            tuple(numbers[place] for place in places.ends),
        )
        self.wanted: Sequence[Wanted] = [
            Wanted(places.widths[place], place in places.ends) for place in noted
        ]
        stages = self.known.stages
        listed = [module for stage in stages for module in stage if module is not None]
        self._chains = listed == list(self._modules) and all(
            type(layer) is StandardSparseLayer for layer, _ in stages
        )
        calls = self.known.calls
        self.readers = {
            call.layer: () if after is None else (after.layer,)
            for call, after in zip_longest(calls, calls[1:])
        }

    def begin(self, inputs: object) -> Tensor | None:
        """What the first layer takes; None where the row cannot be noted.

        It cannot where somebody else looks at a module, or at operations, and where the layer does
        not take rows of numbers on the processor.
        """
        if not isinstance(inputs, Tensor) or not all(map(is_quiet, self._all)):
            return None
        hidden = inputs
        for module in self._before:
            hidden = module.forward(hidden)
        return hidden if is_plain(hidden) and hidden.shape[1] == self.wanted[0].units else None

    def chain(self, inputs: Tensor) -> Chain | None:
        """The layers as one chain; None where they cannot run as one, or more stands between."""
        return chain_of(self.known.stages, inputs) if self._chains else None

    def run(self, inputs: Tensor, take: Take) -> Tensor:
        """What the last module gives; ``take`` is given what is wanted, soon."""
        waiting, first, size = [inputs], 0, inputs.nbytes
        hidden = inputs
        for module, noted in zip(self._modules, self._noted, strict=True):
            if waiting and size >= _NEAR:
                take(first, waiting)
                waiting, first, size = [], first + len(waiting), 0
            hidden = module.forward(hidden)
            if noted:
                waiting.append(hidden)
                size += hidden.nbytes
        if waiting:
            take(first, waiting)
        return hidden


class _Places:
    """Where layers read and end up, in modules of which the first is a layer.

    Attributes:
        stages: Each layer, and the activation behind it.
        reads: In front of how many modules each layer is.
        ends: Behind how many modules its units end up.
        widths: Of the inputs, and behind each module.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self.stages: list[tuple[nn.Module, nn.Module | None]] = []
        self.reads: list[int] = []
        self.ends: list[int] = []
        self.widths: list[int] = []
        for place, module in enumerate(modules):
            if isinstance(module, nn.Linear | StandardSparseLayer):
                self.widths = self.widths or [module.in_features]
                self.stages.append((module, None))
                self.reads.append(place)
                self.ends.append(place + 1)
                self.widths.append(module.out_features)
                continue
            self.widths.append(self.widths[-1])
            layer, activation = self.stages[-1]
            if activation is None and isinstance(module, nn.ReLU):
                self.stages[-1] = layer, module
                self.ends[-1] = place + 1


def row_of(network: nn.Module, layers: Mapping[str, tuple[nn.Module, nn.Module]]) -> Row | None:
    """The network as layers in a row; None where it is not known to be one.

    Args:
        network: Any.
        layers: See `unit_layers.observed_layers`.
    """
    containers: list[nn.Module] = []
    modules = [*_unrolled(network, containers)]
    kinds = [type(module) for module in modules]
    found = [module for module in modules if type(module) in _LAYERS]
    names = {layer: name for name, (layer, _) in layers.items()}
    if not found or len(set(found)) < len(found) or set(found) != names.keys():
        return None
    first = modules.index(found[0])
    if not (_BEFORE.issuperset(kinds[:first]) and (_LAYERS | _BETWEEN).issuperset(kinds[first:])):
        return None
    return Row(containers, modules, names)


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
