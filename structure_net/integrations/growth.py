"""What the callbacks have in common: a session on a model that carries its lineage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from structure_net.evolution.context import NetworkContext
from structure_net.evolution.events import Event
from structure_net.evolution.session import EvolutionSession
from structure_net.evolution.system import ComposableEvolutionSystem
from structure_net.integrations.lineage import carry_lineage
from structure_net.integrations.optimizers import remember_names


class Growth:
    """A system at work on the model of another package's loop.

    The model's lineage is gone on with, and kept up to date: whatever saves the model's state dict
    saves it. Where a state dict is loaded in between, growth goes on from there.

    Args:
        system: Decides.
        context: The network, the data and the loss; its history and journal are the lineage's.
        optimizers: All optimizers of the loop. Their state dicts learn the names of parameters.
    """

    def __init__(
        self,
        system: ComposableEvolutionSystem,
        context: NetworkContext,
        optimizers: Iterable[Optimizer] = (),
    ) -> None:
        known = tuple(optimizers)
        only = known[0] if len(known) == 1 else None
        self._context = replace(context.with_example(), optimizer=only)
        self._system = system
        self._lineage = carry_lineage(context.network)
        self._lineage.optimizers.update(known)
        for optimizer in known:
            remember_names(optimizer, context.network, self._lineage)
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
        return events


def _is_number(value: object) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1
    return isinstance(value, int | float)
