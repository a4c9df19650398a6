"""What the loss does when something in a network is disturbed, without changing the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call

from structure_net.core.noting import Chain
from structure_net.core.running import evaluate
from structure_net.core.undoing import Undoing
from structure_net.evolution.activations import Activation
from structure_net.evolution.batches import Loss, forward
from structure_net.evolution.calls import Call, KnownChain, Straight
from structure_net.evolution.tracking import ActivationTracker

Change = Callable[[Tensor, int], None]
"""Writes into the values that a layer's units end up with; takes them and the units' axis."""


class Interventions:
    """The loss of a network on one batch, with what its units end up with changed on the way.

    To be opened first; the network is in evaluation mode then, and as it was once that is undone.

    Args:
        network: Any module.
        batch: Inputs and targets on its device.
        loss: Takes output and targets to a scalar.
    """

    def __init__(self, network: nn.Module, batch: tuple[Any, Any], loss: Loss) -> None:
        self._network = network
        self._inputs, self._targets = batch
        self._loss = loss
        self._tracker = ActivationTracker(network, self)
        self._changes: Mapping[str, Change] = {}
        self._first = True

    def open(self, undo: Undoing) -> Self:
        """Evaluates the network, and hooks it, until ``undo`` undoes it."""
        evaluate(self._network, undo)
        self._tracker.open(undo)
        return self

    @torch.no_grad()
    def loss(self, changes: Mapping[str, Change] | None = None) -> float:
        """The loss while ``changes`` are made, by layer; the plain loss without."""
        if self._first and changes:
            # The first pass tells which layers have an activation behind them.
            self.loss()
        self._first = False
        self._changes = changes or {}
        try:
            with self._tracker.watching():
                output = forward(self._network, self._inputs)
        finally:
            self._changes = {}
        return float(self._loss(output, self._targets))

    @torch.no_grad()
    def loss_with(self, parameters: Mapping[str, Tensor]) -> float:
        """The loss with other values for some parameters, by their names."""
        arguments, named = _arguments(self._inputs)
        output = functional_call(self._network, dict(parameters), arguments, named)
        return float(self._loss(output, self._targets))

    @property
    def chains(self) -> bool:
        """See `Listener.chains`: what is changed must be there before the next layer runs."""
        return False

    def read(self, call: Call, inputs: Tensor, known: Any) -> None:
        """See `Listener.read`."""

    def note(self, known: KnownChain, chain: Chain) -> Tensor | None:
        """See `Listener.note`."""

    def note_row(self, row: Straight, inputs: Tensor) -> None:
        """See `Listener.note_row`."""

    def wrote(self, call: Call, output: Tensor) -> None:
        """See `Listener.wrote`."""

    def settled(
        self,
        call: Call,
        values: Tensor,
        activation: Activation | None,
        before: Tensor | None,
        sums: Tensor | None = None,
    ) -> None:
        """See `Listener.settled`."""
        if call.layer in self._changes:
            self._changes[call.layer](values, call.axis)


def silenced(units: Tensor | None = None) -> Change:
    """The change that sets units to 0, all of them if None."""

    def change(values: Tensor, axis: int) -> None:
        if units is None:
            values.zero_()
        else:
            values.index_fill_(axis, units.to(values.device), 0)

    return change


def shaken(scale: float, generator: torch.Generator) -> Change:
    """The change that adds normal noise of ``scale`` times the values' root mean square."""

    def change(values: Tensor, axis: int) -> None:
        del axis
        size = scale * values.square().mean().sqrt()
        values += size * _noise(values, generator)

    return change


def scattered(parameter: Tensor, scale: float, generator: torch.Generator) -> Tensor:
    """A parameter each of whose entries is multiplied by 1 plus normal noise of ``scale``."""
    held = parameter.detach()
    return held * (1 + scale * _noise(held, generator))


def _noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """Drawn on the CPU, so that it is the same on every device."""
    drawn = torch.randn(like.shape, generator=generator, dtype=torch.float32)
    return drawn.to(like.device, like.dtype)


def _arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return (tuple(inputs), {}) if isinstance(inputs, tuple | list) else ((inputs,), {})
