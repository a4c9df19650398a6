"""Sparse convolutions train as masked ones do, and float32 differs by its rounding alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from structure_net import create_standard_network
from structure_net.core import SparseConv2d, StandardSparseLayer
from structure_net.surgery import (
    AddConnections,
    AddNeurons,
    Edit,
    RemoveConnections,
    RemoveNeurons,
    edit,
    set_storage,
)
from tests.laws.storages import STORAGES, Storage, crossover, layers


def drawn(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def convolutions(storage: Storage) -> nn.Sequential:
    """Whole kernels are the connections of the first layer, single weights those of the second."""
    draw = torch.Generator().manual_seed(0)
    with crossover(storage):
        return nn.Sequential(
            SparseConv2d(2, 6, 3, padding=1, density=0.5, generator=draw),
            nn.Tanh(),
            SparseConv2d(6, 4, 3, stride=2, density=0.3, granularity="weight", generator=draw),
            nn.Tanh(),
            nn.Flatten(),
            StandardSparseLayer(16, 3, density=0.4, generator=draw),
        ).double()


def stages(model: nn.Module) -> Iterator[Edit]:
    yield AddNeurons("0", 2)
    yield RemoveConnections("2", layers(model)[1].pattern.pairs[::3])
    free = (~layers(model)[1].pattern.mask()).nonzero()[:7].tolist()
    yield AddConnections("2", tuple(map(tuple, free)))
    yield RemoveNeurons("0", (0, 5))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, data: tuple[Tensor, Tensor]) -> None:
    inputs, targets = data
    optimizer.zero_grad()
    (model(inputs) - targets).square().mean().backward()
    optimizer.step()


def test_convolutions_train_the_same_through_edits_and_switches() -> None:
    """200 steps of Adam; the third network changes its storage after each edit."""
    models = [convolutions(storage) for storage in ("live", "masked", "masked")]
    optimizers = [torch.optim.Adam(model.parameters(), lr=0.01) for model in models]
    forced: tuple[Storage, ...] = ("live", "masked", "live")
    data, example = (drawn(5, 2, 6, 6), drawn(5, 3, seed=2)), drawn(2, 2, 6, 6)
    for number, changes in enumerate(zip(*map(stages, models), strict=True)):
        for model, optimizer, storage in zip(models, optimizers, forced, strict=True):
            for _ in range(50):
                train(model, optimizer, data)
            with crossover(storage):
                edit(model, changes[0], example, optimizer=optimizer, seed=number)
        set_storage(models[2], STORAGES[number % 2], optimizer=optimizers[2])
        for other in models[1:]:
            for one, two in zip(layers(models[0]), layers(other), strict=True):
                assert one.pattern == two.pattern
                # Other orders of some dozen float64 sums, amplified by 200 steps.
                torch.testing.assert_close(
                    one.dense_weight(), two.dense_weight(), rtol=0, atol=1e-10
                )
                torch.testing.assert_close(one.bias, two.bias, rtol=0, atol=1e-10)


@pytest.mark.parametrize("density", [0.01, 0.2, 1.0])
def test_a_product_in_single_precision_is_off_by_its_rounding(density: float) -> None:
    r"""Of ``n`` products, :math:`|fl(s) - s| \le (n + 1) u \sum |x_i w_i|` to first order in ``u``.

    References:
        Higham, "Accuracy and stability of numerical algorithms", 2002, section 3.1.
    """
    draw = torch.Generator().manual_seed(0)
    with crossover("live"):
        layer = StandardSparseLayer(300, 200, density=density, generator=draw)
    inputs, gradient = drawn(64, 300).float(), drawn(64, 200, seed=2).float()
    inputs.requires_grad_()
    outputs = layer(inputs)
    outputs.backward(gradient)
    weight, unit = layer.dense_weight().detach().double(), 2.0**-24
    x, dy = inputs.detach().double(), gradient.double()
    of_values = (dy.T @ x)[layer.pattern.rows, layer.pattern.columns]
    bound_of_values = (dy.abs().T @ x.abs())[layer.pattern.rows, layer.pattern.columns]
    found = (outputs, inputs.grad, layer.weight.grad)
    wanted = (x @ weight.T, dy @ weight, of_values)
    bounds = (
        302 * (x.abs() @ weight.abs().T),
        202 * (dy.abs() @ weight.abs()),
        66 * bound_of_values,
    )
    for one, exact, bound in zip(found, wanted, bounds, strict=True):
        assert one is not None
        assert bool(((one.double() - exact).abs() <= 1.01 * unit * bound).all())


def test_in_single_precision_200_steps_of_adam_stay_together() -> None:
    """Where Adam's epsilon bounds how much a step answers to a gradient.

    Rounding moves a gradient of the mean loss by some ``64 u`` of its size, which is below 1, and a
    step of Adam answers by at most ``rate / epsilon = .1`` times that; 200 steps add up. Training
    hands deviations on, too: a factor of ten for that.
    """
    models, data = [], (drawn(24, 12).float(), drawn(24, 4, seed=2).float())
    for storage in STORAGES:
        with crossover(storage):
            model = create_standard_network([12, 20, 16, 4], density=0.3, seed=0)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, eps=0.1)
        for _ in range(200):
            train(model, optimizer, data)
        models.append(model)
    tolerance = 10 * 200 * 0.1 * 64 * 2.0**-24
    for one, two in zip(*map(layers, models), strict=True):
        assert (one.storage, two.storage) == STORAGES
        torch.testing.assert_close(one.dense_weight(), two.dense_weight(), rtol=0, atol=tolerance)
        torch.testing.assert_close(one.bias, two.bias, rtol=0, atol=tolerance)
