"""Looking at hidden layers while they train: the size of their gradients and activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from structure_net.core.running import evaluate
from structure_net.core.undoing import Undoing, hooked
from structure_net.den.core import DynamicExpandableNetwork
from structure_net.den.measuring import linear_maps
from structure_net.surgery.grafts import resolved


class LayerWatch:
    """Watches the hidden layers of a network from `open` until `close`.

    An edit in between would go unseen: close it before, and open it again after.

    Args:
        network: Is given forward hooks for the time.
        undo: Closes it, too.
        training: Whether passes in evaluation mode are passed over; else the network is evaluated,
            and all others are.
    """

    def __init__(
        self, network: DynamicExpandableNetwork, undo: Undoing, *, training: bool = True
    ) -> None:
        self._network = network
        self._undo = undo
        self._training = training
        self._outputs: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] = {}
        self._sum: Tensor | None = None
        self._steps = 0

    def open(self) -> None:
        """Watches what runs from now on; what was seen before is forgotten."""
        network = self._network
        if not self._training:
            evaluate(network, self._undo)
        self._outputs, self._sum, self._steps = {}, None, 0
        self._weights = {name: layer.weight for name, layer in linear_maps(network).items()}
        for layer in network.hidden:
            module = network.get_submodule(resolved(network, layer.activation))
            hooked(self._undo, module, self._noting(layer.name))

    def close(self) -> None:
        """Watches no more; what was seen stays."""
        self._undo.now()

    def step(self) -> None:
        """Adds the norms of the gradients that the weights hold now."""
        norms = [
            weight.new_zeros(()) if weight.grad is None else weight.grad.detach().norm()
            for weight in self._weights.values()
        ]
        total = torch.stack(norms).double()
        self._sum = total if self._sum is None else self._sum + total
        self._steps += 1

    def gradient_norms(self) -> dict[str, float]:
        """The mean over steps, by layer; empty where there was none."""
        if self._sum is None:
            return {}
        return dict(zip(self._weights, (self._sum / self._steps).tolist(), strict=True))

    def magnitudes(self) -> dict[str, float]:
        """The mean absolute activation of the newest batch, by layer."""
        return {name: float(output.abs().mean()) for name, output in self._outputs.items()}

    def _noting(self, name: str) -> Callable[..., None]:
        def note(module: nn.Module, _inputs: Any, output: Any) -> None:
            if module.training == self._training:
                self._outputs[name] = output.detach()

        return note
