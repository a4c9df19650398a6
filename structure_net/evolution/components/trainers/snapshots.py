"""A copy of weights, buffers and optimizer state to return to while shapes stay."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Snapshot:
    """What a network and its optimizer hold now.

    Args:
        network: Its parameters and buffers are copied.
        optimizer: Its state is copied; its parameter groups are not.
    """

    def __init__(self, network: nn.Module, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        tensors: list[Tensor] = [*network.parameters(), *network.buffers()]
        self._tensors = [(tensor, tensor.detach().clone()) for tensor in tensors]
        self._states = [(parameter, _copied(state)) for parameter, state in optimizer.state.items()]

    @torch.no_grad()
    def restore(self) -> None:
        """Writes it back in place; a snapshot can be restored more than once."""
        for tensor, kept in self._tensors:
            tensor.copy_(kept)
        self._optimizer.state.clear()
        for parameter, state in self._states:
            self._optimizer.state[parameter] = _copied(state)


def _copied(state: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.detach().clone() if isinstance(value, Tensor) else value
        for name, value in state.items()
    }
