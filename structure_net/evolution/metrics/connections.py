"""The weights of layers as graphs see them: one for each pair of units that is connected."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from structure_net.core.sparsity import SparseLayer, SparsePattern
from structure_net.core.statistics import outermost_modules
from structure_net.core.weights import kernel_norms, unit_weights


@dataclass(frozen=True, slots=True, eq=False)
class LayerConnections:
    """The weights of a layer.

    Args:
        weights: Shape ``(outputs, inputs)``; with ``pattern``: shape ``(connections,)``, in its
            order. Of a convolution, the norm of each kernel.
        pattern: What is connected in a sparse layer or a grouped convolution; None: everything.
    """

    weights: Tensor
    pattern: SparsePattern | None = None

    @property
    def largest(self) -> float:
        """The largest magnitude; 0 without connections."""
        return float(self.weights.detach().abs().max()) if self.weights.numel() else 0.0


def layer_connections(network: nn.Module) -> dict[str, LayerConnections]:
    """The connections of every sparse, linear and convolutional layer of a network.

    Args:
        network: Any module.

    Returns:
        By name, in the order of the modules; a module that stands in several places once.
    """
    found = {}
    for name, module in outermost_modules(network):
        if isinstance(module, SparseLayer):
            found[name] = _sparse(module)
        elif (weights := unit_weights(module)) is not None:
            found[name] = _connections(_norms(weights, 2), getattr(module, "groups", 1))
    return found


def _sparse(layer: SparseLayer) -> LayerConnections:
    norms, pattern, units = _norms(layer.live_weights, 1), layer.pattern, layer.unit_pattern
    if units.shape == pattern.shape:
        return LayerConnections(norms, pattern)
    sources = layer.sources.to(pattern.columns.device)
    keys = pattern.rows * units.shape[1] + sources[pattern.columns]
    _, place = keys.unique(return_inverse=True)
    squares = norms.new_zeros(len(units)).index_add_(0, place, norms.square())
    return LayerConnections(squares.sqrt(), units)


def _connections(norms: Tensor, groups: int) -> LayerConnections:
    if groups == 1:
        return LayerConnections(norms)
    outputs, inputs = (torch.arange(size, device=norms.device) for size in norms.shape)
    of_output = outputs * groups // norms.shape[0]
    of_input = inputs * groups // norms.shape[1]
    pattern = SparsePattern.from_mask(of_output[:, None] == of_input)
    return LayerConnections(norms[pattern.rows, pattern.columns], pattern)


def _norms(weights: Tensor, units: int) -> Tensor:
    """The norm over all axes but the first ones, which count units."""
    values = weights.detach()
    return kernel_norms(values, units) if values.dim() > units else values
