"""A network whose layers run as a chain, and what they give one by one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from structure_net.core import create_standard_network
from structure_net.core.network_factory import StandardNetwork

WIDTHS = (40, 33, 20, 7)


def network(dtype: torch.dtype = torch.float64) -> StandardNetwork:
    return create_standard_network(list(WIDTHS), density=0.3, seed=0).to(dtype)


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(1))


def one_by_one(model: StandardNetwork, inputs: Tensor) -> Tensor:
    hidden = inputs
    for layer, activation in zip(model.layers, model.activations, strict=False):
        hidden = activation(layer(hidden))
    outputs: Tensor = model.layers[-1](hidden)
    return outputs


def derived(
    run: Callable[[Tensor], Tensor], model: nn.Module, inputs: Tensor
) -> list[Tensor | None]:
    """Outputs and all gradients there are."""
    model.zero_grad()
    inputs.grad = None
    outputs = run(inputs)
    if outputs.requires_grad:
        outputs.backward(random(*outputs.shape, dtype=outputs.dtype))
    return [outputs.detach(), inputs.grad, *(one.grad for one in model.parameters())]


def same(found: list[Tensor | None], wanted: list[Tensor | None]) -> bool:
    return len(found) == len(wanted) and all(
        one is other
        if one is None or other is None
        else one.dtype == other.dtype and torch.equal(one, other)
        for one, other in zip(found, wanted, strict=True)
    )
