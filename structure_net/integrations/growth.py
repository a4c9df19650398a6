"""What the callbacks have in common: a session on a model that carries its lineage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from structure_net.evolution.context import NetworkContext
from structure_net.evolution.events import Event, EventKind
from structure_net.evolution.session import EvolutionSession
from structure_net.evolution.system import ComposableEvolutionSystem
from structure_net.integrations.lineage import carry_lineage
from structure_net.surgery.optimizers import LOG

_GREW = (EventKind.EDITED, EventKind.GREW_BY_HAND)


class Growth:
    """A system at work on the model of another package's loop.

    The model's lineage is gone on with, and kept up to date: whatever saves the model's state dict
    saves it. Where a state dict is loaded in between, growth goes on from there.

    Args:
        system: Decides.
        context: The network, the data and the loss; its history and journal are the lineage's.
        optimizers: All optimizers of the loop. Their groups keep the model's order of parameters,
            where they have it, so that an optimizer that is made anew for the grown model can load
            their state.
        root: The module in whose order the optimizers' groups are; the network if None.
    """

    def __init__(
        self,
        system: ComposableEvolutionSystem,
        context: NetworkContext,
        optimizers: Iterable[Optimizer] = (),
        *,
        root: nn.Module | None = None,
    ) -> None:
        self._optimizers = tuple(optimizers)
        self._root = context.network if root is None else root
        self._ordered = [
            (
                optimizer,
                [_in_order(group["params"], self._root) for group in optimizer.param_groups],
            )
            for optimizer in self._optimizers
        ]
        only = self._optimizers[0] if len(self._optimizers) == 1 else None
        self._context = replace(context.with_example(), optimizer=only)
        self._system = system
        self._lineage = carry_lineage(context.network)
        self._lineage.optimizers.update(self._optimizers)
        self._session = self._opened()

    @property
    def context(self) -> NetworkContext:
        """The network as it stands, with its history and journal."""
        return self._current().context

    def after_step(
        self, loss: Tensor | None = None, *, samples: int | None = None
    ) -> Sequence[Event]:
        """See `EvolutionSession.after_step`."""
        return self._told(self._current().after_step(loss, samples=samples))

    def after_epoch(self, metrics: Mapping[str, Any], *, more: bool = True) -> Sequence[Event]:
        """See `EvolutionSession.after_epoch`; of ``metrics`` only what is one number is kept."""
        numbers = {name: value for name, value in metrics.items() if _is_number(value)}
        return self._told(self._current().after_epoch(numbers, more=more))

    def close(self) -> None:
        """The loop is over: its optimizers are let go of."""
        self._lineage.optimizers.clear()

    def _current(self) -> EvolutionSession:
        if self._session.context.journal is not self._lineage.journal:
            self._session = self._opened()
        return self._session

    def _opened(self) -> EvolutionSession:
        lineage = self._lineage
        if lineage.example is None:
            lineage.example = self._context.example
        context = replace(
            self._context,
            example=lineage.example,
            journal=lineage.journal,
            history=lineage.history,
        )
        return self._system.resume(context, done=lineage.done)

    def _told(self, events: Sequence[Event]) -> Sequence[Event]:
        self._lineage.done = self._session.done
        if any(event.kind in _GREW for event in events):
            for optimizer, ordered in self._ordered:
                _order(optimizer, ordered, self._root)
        return events


def _is_number(value: object) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1
    return isinstance(value, int | float)


def _places(root: nn.Module) -> dict[int, int]:
    return {id(parameter): place for place, parameter in enumerate(root.parameters())}


def _in_order(parameters: Sequence[Tensor], root: nn.Module) -> bool:
    """Whether all are the root's, in the order in which it names them."""
    places = _places(root)
    found = [places.get(id(parameter), -1) for parameter in parameters]
    return -1 not in found and found == sorted(found)


def _order(optimizer: Optimizer, ordered: Sequence[bool], root: nn.Module) -> None:
    """Puts newborn parameters where the root's order wants them, as a fresh optimizer would."""
    LOG.catch_up(optimizer)
    places = _places(root)
    for group, was in zip(optimizer.param_groups, ordered, strict=False):
        if was:
            group["params"] = sorted(group["params"], key=lambda one: places[id(one)])
