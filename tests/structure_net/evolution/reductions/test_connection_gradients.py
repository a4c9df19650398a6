from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from structure_net.core import SparseConv2d, SparseLayer, StandardSparseLayer
from structure_net.errors import StructureNetError
from structure_net.evolution.reductions import connection_gradients as tested
from structure_net.evolution.reductions.connection_gradients import (
    MOMENTUM,
    ConnectionGradient,
    ConnectionGradients,
)
from structure_net.evolution.reductions.passing import Pass

Batches = list[tuple[Tensor, Tensor]]


def _network(draw: torch.Generator) -> nn.Sequential:
    return nn.Sequential(
        SparseConv2d(2, 3, 3, stride=2, padding=1, density=0.5, generator=draw),
        nn.ReLU(),
        nn.Flatten(),
        StandardSparseLayer(3 * 9, 4, density=0.3, generator=draw),
    ).double()


def _batches(draw: torch.Generator, sizes: tuple[int, ...]) -> Batches:
    return [
        (
            torch.randn(n, 2, 5, 5, generator=draw, dtype=torch.float64),
            torch.randint(4, (n,), generator=draw),
        )
        for n in sizes
    ]


def _dense(network: nn.Sequential, batch: tuple[Tensor, Tensor]) -> list[Tensor]:
    """The gradients of both weights, computed with dense copies of them."""
    kernel, matrix = (network[i].dense_weight().detach().requires_grad_() for i in (0, 3))
    hidden = F.conv2d(batch[0], kernel, network[0].bias, 2, 1).relu().flatten(1)
    loss = F.cross_entropy(F.linear(hidden, matrix, network[3].bias), batch[1])
    return list(torch.autograd.grad(loss, [kernel, matrix]))


def _found(network: nn.Module, batches: Batches) -> dict[str, ConnectionGradient]:
    reduction = ConnectionGradients()
    passing = Pass(network, (reduction,))
    passing.run(batches, F.cross_entropy)
    return reduction.result(passing.readers)


def test_the_gradient_is_that_of_the_dense_weight() -> None:
    draw = torch.Generator().manual_seed(0)
    network, batches = _network(draw), _batches(draw, (6, 2))
    found = _found(network, batches)
    first, second = (_dense(network, batch) for batch in batches)
    for name, one, other in zip(("0", "3"), first, second, strict=True):
        expected = (6 * one + 2 * other) / 8
        torch.testing.assert_close(found[name].mean, expected, atol=1e-12, rtol=0)
        absent = ~network.get_submodule(name).pattern.mask()
        assert bool(found[name].mean[absent].any())


def test_the_momentum_is_the_running_mean_of_the_batches() -> None:
    draw = torch.Generator().manual_seed(1)
    network, batches = _network(draw), _batches(draw, (4, 3, 5))
    found = _found(network, batches)
    single = [_dense(network, batch)[1] for batch in batches]
    running = torch.zeros_like(single[0])
    for gradient in single:
        running = MOMENTUM * running + (1 - MOMENTUM) * gradient
    expected = running / (1 - MOMENTUM**3)
    torch.testing.assert_close(found["3"].momentum, expected, atol=1e-12, rtol=0)


def test_a_layer_that_is_called_twice_counts_both_calls() -> None:
    draw = torch.Generator().manual_seed(2)
    layer = StandardSparseLayer(3, 3, density=0.5, generator=draw).double()
    network = nn.Sequential(layer, nn.Tanh(), layer)
    inputs = torch.randn(5, 3, generator=draw, dtype=torch.float64)
    targets = torch.randint(3, (5,), generator=draw)
    weight = layer.dense_weight().detach().requires_grad_()
    outputs = F.linear(F.linear(inputs, weight, layer.bias).tanh(), weight, layer.bias)
    (expected,) = torch.autograd.grad(F.cross_entropy(outputs, targets), weight)
    found = _found(network, [(inputs, targets)])
    torch.testing.assert_close(found["0"].mean, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("granularity", ["kernel", "weight"])
@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        ((3, 2), {"stride": (2, 1), "padding": (1, 0)}),
        (3, {"dilation": (1, 2), "padding": 2}),
        (3, {"padding": "same"}),
        (1, {"stride": 2}),
    ],
)
def test_kernels_of_any_geometry_have_the_dense_gradient(
    kernel: Any, options: dict[str, Any], granularity: Any
) -> None:
    draw = torch.Generator().manual_seed(3)
    layer = SparseConv2d(
        2, 3, kernel, density=0.4, generator=draw, granularity=granularity, **options
    ).double()
    inputs = torch.randn(4, 2, 7, 6, generator=draw, dtype=torch.float64)
    weight = layer.dense_weight().detach().requires_grad_()
    (expected,) = torch.autograd.grad(
        F.conv2d(inputs, weight, layer.bias, **options).square().mean(), weight
    )
    reduction = ConnectionGradients()
    passing = Pass(layer, (reduction,))
    passing.run([(inputs, inputs)], lambda output, _: output.square().mean())
    (found,) = reduction.result(passing.readers).values()
    torch.testing.assert_close(found.mean, expected, atol=1e-12, rtol=0)


class _Largest(TorchDispatchMode):
    """Notes how many numbers the largest tensor has that an operation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for one in found if isinstance(found, tuple) else (found,):
            if isinstance(one, Tensor):
                self.numbers = max(self.numbers, one.numel())
        return found


def test_no_image_is_unfolded_for_the_gradient_of_a_kernel() -> None:
    draw = torch.Generator().manual_seed(4)
    layer = SparseConv2d(4, 4, 3, padding=1, density=0.5, generator=draw)
    images = torch.randn(8, 4, 10, 10, generator=draw)
    passing = Pass(layer, (ConnectionGradients(),))
    with _Largest() as largest:
        passing.run([(images, images)], lambda output, _: output.square().mean())
    assert largest.numbers <= 8 * 4 * 12 * 12


def test_dense_layers_are_left_out() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), StandardSparseLayer(3, 2, density=0.5))
    assert isinstance(network[2], SparseLayer)
    assert set(_found(network, [(torch.ones(2, 3), torch.zeros(2).long())])) == {"2"}


def test_more_places_than_have_a_gradient_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tested, "MOST_PLACES", 100)
    draw = torch.Generator().manual_seed(0)
    network = _network(draw)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(StructureNetError, match=r"layer '3' would have 108 entries.*RigL\(cand"):
        _found(network, _batches(draw, (4,)))
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert not any(module._forward_pre_hooks for module in network.modules())
