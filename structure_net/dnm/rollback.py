"""A change on probation: what it takes to return to the state before it, bit for bit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from structure_net.surgery import Applied, Journal


@dataclass(slots=True)
class Probation:
    """A network as it was before its last changes, and how to undo these.

    Args:
        weights: Of the network before the changes.
        journal: As it was.
        accuracy: The level that the network must hold.
        events: How many morphogenesis events there were.
        records: How many accuracies had been recorded.
        lasts: For so many recorded accuracies the changes can be taken back.
    """

    weights: Weights
    journal: Journal
    accuracy: float
    events: int
    records: int
    lasts: int
    _done: list[Applied] = field(default_factory=list, init=False)

    def note(self, done: Iterable[Applied]) -> None:
        """Edits that were carried out since."""
        self._done += done

    def take_back(self) -> None:
        """Undoes the edits, and writes weights and optimizer states back as they were.

        Raises:
            SurgeryError: An edit of somebody else's stands on top; the ones above it are undone.
        """
        while self._done:
            self._done[-1].undo()
            self._done.pop()
        self.weights.restore()


class Weights:
    """Copies of a network's parameters and buffers, and of what optimizers remember of them.

    Args:
        model: Its tensors are copied.
        optimizers: Those that hold its parameters.
    """

    def __init__(self, model: nn.Module, optimizers: Iterable[Optimizer]) -> None:
        self._model = model
        self._tensors = {name: tensor.detach().clone() for name, tensor in _tensors(model)}
        own = {id(parameter) for parameter in model.parameters()}
        self._states = [
            (optimizer, {p: _copied(s) for p, s in optimizer.state.items() if id(p) in own})
            for optimizer in optimizers
        ]

    @torch.no_grad()
    def restore(self) -> None:
        """Writes all of it back in place, into a model whose shapes are as they were."""
        for name, tensor in _tensors(self._model):
            tensor.copy_(self._tensors[name])
        for optimizer, states in self._states:
            for parameter in self._model.parameters():
                optimizer.state.pop(parameter, None)
            optimizer.state.update({p: _copied(state) for p, state in states.items()})


def _tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]


def _copied(state: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.detach().clone() if isinstance(value, Tensor) else value
        for name, value in state.items()
    }
