"""Fresh weights for an architecture that exists."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from structure_net.core.storage import StoredLayer


def renew(network: nn.Module, *, seed: int) -> None:
    """Draws every weight of ``network`` anew, in place; patterns and shapes stay.

    Sparse layers are drawn by their live fan-in. Linear layers and convolutions are drawn as
    PyTorch draws them at birth, uniform within :math:`1 / \\sqrt{f}` for fan-in ``f``. What follows
    no random rule (normalisations) is reset.

    Args:
        network: Any module.
        seed: What the weights are drawn from.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, StoredLayer):
            _on_cpu(module, generator)
        elif isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
            _draw(module.weight, module.weight, generator)
            if module.bias is not None:
                _draw(module.bias, module.weight, generator)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm | nn.LayerNorm | nn.GroupNorm):
            module.reset_parameters()


def _on_cpu(layer: StoredLayer, generator: torch.Generator) -> None:
    """Draws on the CPU, where the generator lives, and gives the layer its device back."""
    device = layer.weight.device
    layer.cpu()
    layer.reset_parameters(generator, gain=layer.gain)
    layer.to(device)


def _draw(tensor: Tensor, weight: Tensor, generator: torch.Generator) -> None:
    fan_in, _ = nn.init._calculate_fan_in_and_fan_out(weight)
    bound = 1 / math.sqrt(max(fan_in, 1))
    drawn = torch.empty(tensor.shape).uniform_(-bound, bound, generator=generator)
    with torch.no_grad():
        tensor.copy_(drawn)
