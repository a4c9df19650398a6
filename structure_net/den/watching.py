"""Looking at hidden layers while they train: the size of their gradients and activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from structure_net.den.core import DynamicExpandableNetwork
from structure_net.den.measuring import linear_maps
from structure_net.surgery.grafts import resolved


class LayerWatch:
    """Watches the hidden layers of a network between entering and leaving it.

    An edit in between would go unseen: leave it before, and enter it again after.

    Args:
        network: Is given forward hooks for the time.
        training: Whether passes in evaluation mode are passed over; else all others are.
    """

    def __init__(self, network: DynamicExpandableNetwork, *, training: bool = True) -> None:
        self._network = network
        self._training = training
        self._handles: list[RemovableHandle] = []
        self._outputs: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] = {}
        self._sum: Tensor | None = None
        self._steps = 0
        self._mode = network.training

    def __enter__(self) -> Self:
        network = self._network
        self._mode = network.training
        if not self._training:
            network.eval()
        self._outputs, self._sum, self._steps = {}, None, 0
        self._weights = {name: layer.weight for name, layer in linear_maps(network).items()}
        for layer in network.hidden:
            module = network.get_submodule(resolved(network, layer.activation))
            self._handles.append(module.register_forward_hook(self._noting(layer.name)))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if not self._training:
            self._network.train(self._mode)

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
