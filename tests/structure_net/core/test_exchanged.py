"""Tensors that get other data or lose their memory while live layers use them are refused.

The kernels work on addresses: what they were told of sizes must hold, or they write beyond.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from structure_net.core import SparseConv2d, StandardSparseLayer, create_standard_network

pytestmark = pytest.mark.usefixtures("live_storage")


def draw() -> torch.Generator:
    return torch.Generator().manual_seed(0)


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "chain": (lambda: create_standard_network([40, 33, 7], density=0.3, seed=0), (9, 40)),
    "linear": (lambda: StandardSparseLayer(40, 33, density=0.3, generator=draw()), (9, 40)),
    "kernels": (lambda: SparseConv2d(4, 6, 3, density=0.3, generator=draw()), (2, 4, 8, 8)),
    "weights": (
        lambda: SparseConv2d(4, 6, 3, density=0.3, granularity="weight", generator=draw()),
        (2, 4, 8, 8),
    ),
}
EXCHANGED: dict[str, Callable[[Tensor], Tensor]] = {
    "fewer samples": lambda x: x[:1].clone(),
    "none": lambda x: x[:0].clone(),
    "more samples": lambda x: torch.cat([x, x]),
    "fewer features": lambda x: x[:, :3].clone(),
    "turned": lambda x: x.transpose(0, 1).contiguous(),
    "flat": lambda x: x.flatten(),
    "another type": lambda x: x.float(),
}


def made(kind: str, way: str) -> tuple[nn.Module, Tensor]:
    """A model, and inputs that lie as torch has them or with the features first."""
    make, shape = MODELS[kind]
    inputs = torch.randn(shape, generator=draw(), dtype=torch.float64)
    if way == "turned":
        inputs = inputs.transpose(0, 1).contiguous().transpose(0, 1)
    return make().double(), inputs.requires_grad_()


@pytest.mark.parametrize("change", EXCHANGED)
@pytest.mark.parametrize("way", ["plain", "turned"])
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("again", [False, True])
def test_inputs_that_got_other_data_before_backward_are_refused(
    kind: str, way: str, change: str, again: bool
) -> None:
    model, inputs = made(kind, way)
    outputs = model(inputs).square().sum()
    inputs.data = EXCHANGED[change](inputs.data)
    with pytest.raises(RuntimeError, match="inputs of a product must still be"):
        torch.autograd.grad(outputs, list(model.parameters()), create_graph=again)


@pytest.mark.parametrize("kind", ["linear", "kernels"])
def test_factors_that_got_other_data_before_a_second_derivative_are_refused(kind: str) -> None:
    model, inputs = made(kind, "plain")
    slopes = torch.autograd.grad(model(inputs).square().sum(), inputs, create_graph=True)
    held = next(iter(model.parameters()))
    held.data = held.data[:3].clone()
    with pytest.raises(RuntimeError, match="of a product must still be"):
        slopes[0].sum().backward()


def test_activations_that_come_back_smaller_are_refused() -> None:
    model, inputs = made("chain", "plain")
    hooks = torch.autograd.graph.saved_tensors_hooks(
        lambda one: one.detach(), lambda one: one[:5] if one.shape == (73, 9) else one
    )
    with hooks:
        outputs = model(inputs)
    with pytest.raises(RuntimeError, match="activations of a product must still be"):
        outputs.sum().backward()


@pytest.mark.parametrize("freed", ["inputs", "weight", "bias"])
@pytest.mark.parametrize("way", ["plain", "turned"])
@pytest.mark.parametrize("kind", MODELS)
def test_tensors_whose_memory_was_freed_are_refused(kind: str, way: str, freed: str) -> None:
    model, inputs = made(kind, way)
    parameters = dict(model.named_parameters())
    tensor = inputs if freed == "inputs" else parameters[min(n for n in parameters if freed in n)]
    tensor.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="its storage was freed"):
        model(inputs)
