"""Steps that put grafts into a model and take them out again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from structure_net.core.moments import LeaveGroup
from structure_net.core.weights import weights_among
from structure_net.surgery.building import built_block, built_skip
from structure_net.surgery.committing import Step
from structure_net.surgery.grafts import Carrier, Grafted, HeadGate
from structure_net.surgery.moments import JoinGroup
from structure_net.surgery.moves import AddGraft, Block, Move, RemoveGraft, SetGate
from structure_net.surgery.optimizers import Record
from structure_net.surgery.tensors import draws

_Module = TypeVar("_Module", bound=nn.Module)


def built_grafts(model: nn.Module, moves: Sequence[Move], seed: int) -> dict[str, nn.Module]:
    """The module of every `AddGraft`, by the dotted name that it will have."""
    carriers: dict[str, Carrier] = {}
    grafts: dict[str, nn.Module] = {}
    for move in moves:
        if isinstance(move, AddGraft):
            name = f"{move.layer}.grafts.{move.name}"
            like = _like(model, move.layer)
            if isinstance(move.graft, Block):
                grafts[name] = built_block(move.graft, like, draws(seed, name))
            else:
                carrier = carriers.setdefault(move.name, Carrier())
                grafts[name] = built_skip(move.graft, like, draws(seed, name), carrier)
    return grafts


def graft_steps(
    model: nn.Module,
    moves: Sequence[Move],
    grafts: Mapping[str, nn.Module],
    optimizers: Sequence[Optimizer],
    record: Record,
) -> Iterator[Step]:
    """Steps for every graft that comes or goes; what optimizers must know is added to
    ``record``.
    """
    for move in moves:
        if isinstance(move, AddGraft):
            graft = grafts[f"{move.layer}.grafts.{move.name}"]
            graft.train(model.get_submodule(move.layer).training)
            yield PutGraft(model, move.layer, move.name, graft)
            born = list(_neighbours(model, move.layer, graft))
            record.born += born
            for optimizer in optimizers:
                yield from (JoinGroup(optimizer, new, near) for new, near in born)
        elif isinstance(move, RemoveGraft):
            graft = model.get_submodule(f"{move.layer}.grafts.{move.name}")
            yield TakeGraft(model, move.layer, move.name)
            record.gone += list(graft.parameters())
            for optimizer in optimizers:
                yield from (LeaveGroup(optimizer, old) for old in graft.parameters())


def gate_steps(model: nn.Module, moves: Sequence[Move]) -> Iterator[Step]:
    """Steps for every gate that is set, changed or taken away."""
    for move in moves:
        if isinstance(move, SetGate):
            like = _like(model, move.layer)
            values = torch.tensor(move.open, dtype=like.dtype, device=like.device)
            images = isinstance(model.get_submodule(move.layer), nn.modules.conv._ConvNd)
            gate = HeadGate(values, images=images)
            yield PutGate(model, move.layer.removesuffix(".origin"), gate)


def _neighbours(model: nn.Module, layer: str, graft: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    """Each new parameter with the one whose optimizer group it joins.

    That is one of the layer's own, else of the model's: of the same name (a bias joins the bias,
    which many train without weight decay), else as much of a matrix or a vector, else the first.
    """
    own = dict(model.get_submodule(layer).named_parameters()) or dict(model.named_parameters())
    weights = weights_among(model) | weights_among(graft)
    for name, new in graft.named_parameters() if own else ():
        called = name.rpartition(".")[2]
        same = [near for other, near in own.items() if other.rpartition(".")[2] == called]
        alike = [near for near in own.values() if (near in weights) == (new in weights)]
        yield new, (*same, *alike, *own.values())[0]


def _like(model: nn.Module, layer: str) -> Tensor:
    """Gives dtype and device."""
    for module in (model.get_submodule(layer), model):
        for parameter in module.parameters():
            if parameter.is_floating_point():
                return parameter
    return torch.empty(())


@dataclass(slots=True)
class PutGraft:
    """Puts a graft behind what stands at ``path``, which a `Grafted` wraps if none does yet."""

    model: nn.Module
    path: str
    name: str
    graft: nn.Module
    _wrapped: Places | None = field(default=None, init=False)

    def apply(self) -> None:
        """Wraps the layer if need be, and appends the graft."""
        place = self.model.get_submodule(self.path)
        if not isinstance(place, Grafted):
            wrapper = Grafted(place)
            self._wrapped = Places(self.model, place, wrapper)
            self._wrapped.apply()
            place = wrapper
        place.grafts[self.name] = self.graft

    def revert(self) -> None:
        """Takes the graft out, and the layer back to its place."""
        place = self.model.get_submodule(self.path)
        assert isinstance(place, Grafted)
        del place.grafts[self.name]
        if self._wrapped is not None:
            self._wrapped.revert()


@dataclass(slots=True)
class PutGate:
    """Sets the gate in front of a layer, in the place of an older one; an open gate is none."""

    model: nn.Module
    path: str
    gate: HeadGate
    _older: nn.Module | None = field(default=None, init=False)
    _exchanged: Places | None = field(default=None, init=False)

    def apply(self) -> None:
        """Sets the gate."""
        place = self.model.get_submodule(self.path)
        if not isinstance(place, Grafted):
            place = self._exchange(place, Grafted(place))
        self._older = place.gates._modules.get("heads")
        if not bool(self.gate.open.all()):
            place.gates["heads"] = self.gate
            return
        place.gates.clear()
        if not place.grafts:
            self._exchange(place, place.origin)

    def revert(self) -> None:
        """Sets what was there before."""
        if self._exchanged is not None:
            self._exchanged.revert()
        place = self.model.get_submodule(self.path)
        if isinstance(place, Grafted):
            place.gates.clear()
            if self._older is not None:
                place.gates["heads"] = self._older

    def _exchange(self, old: nn.Module, new: _Module) -> _Module:
        self._exchanged = Places(self.model, old, new)
        self._exchanged.apply()
        return new


@dataclass(slots=True)
class TakeGraft:
    """Takes a graft out; a `Grafted` that holds nothing more gives its place back to the layer."""

    model: nn.Module
    path: str
    name: str
    _before: dict[str, nn.Module] = field(default_factory=dict, init=False)
    _unwrapped: Places | None = field(default=None, init=False)

    def apply(self) -> None:
        """Takes it out."""
        place = self.model.get_submodule(self.path)
        assert isinstance(place, Grafted)
        self._before = dict(place.grafts.items())
        del place.grafts[self.name]
        if not place.grafts and not place.gates:
            self._unwrapped = Places(self.model, place, place.origin)
            self._unwrapped.apply()

    def revert(self) -> None:
        """Puts it back where it was among the grafts."""
        if self._unwrapped is not None:
            self._unwrapped.revert()
        place = self.model.get_submodule(self.path)
        assert isinstance(place, Grafted)
        place.grafts.clear()
        place.grafts.update(self._before)


@dataclass(slots=True)
class Places:
    """Exchanges a module for another wherever the model holds it."""

    model: nn.Module
    old: nn.Module
    new: nn.Module
    _found: list[tuple[nn.Module, str]] = field(default_factory=list, init=False)

    def apply(self) -> None:
        """Exchanges."""
        self._found = [
            (parent, key)
            for parent in self.model.modules()
            for key, child in parent._modules.items()
            if child is self.old and parent is not self.new
        ]
        for parent, key in self._found:
            parent._modules[key] = self.new

    def revert(self) -> None:
        """Exchanges back."""
        for parent, key in self._found:
            parent._modules[key] = self.old
