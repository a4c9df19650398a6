"""Per-sample gradients against those of one sample at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.core.layers import SparseConv2d, StandardSparseLayer
from structure_net.evolution.metrics.gradients import cosine_of_total, mean_pairwise_cosine
from structure_net.evolution.reductions.passing import Pass
from structure_net.evolution.reductions.sample_gradients import (
    SampleGradientNorms,
    SampleGradients,
)
from structure_net.surgery import set_storage
from tests.laws.storages import STORAGES, Storage


class Twice(nn.Module):
    """A layer that is called two times."""

    def __init__(self, shared: nn.Module) -> None:
        super().__init__()
        self.shared = shared
        self.head = nn.Linear(5, 3)

    def forward(self, inputs: Tensor) -> Any:
        return self.head(torch.tanh(self.shared(torch.tanh(self.shared(inputs)))))


class Tokens(nn.Module):
    """Layers on several positions."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, inputs: Tensor) -> Any:
        return self.second(torch.tanh(self.first(inputs))).mean(1)


def _drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _convolutional(conv: nn.Module, channels: int) -> nn.Module:
    return nn.Sequential(
        conv, nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, 3)
    )


CASES = {
    "dense": (nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)), (5,)),
    "sparse": (
        nn.Sequential(
            StandardSparseLayer(5, 6, density=0.4, generator=_drawn()),
            nn.Tanh(),
            StandardSparseLayer(6, 3, density=0.5, generator=_drawn()),
        ),
        (5,),
    ),
    "tokens": (Tokens(nn.Linear(5, 4), nn.Linear(4, 3, bias=False)), (6, 5)),
    "sparse tokens": (
        Tokens(
            StandardSparseLayer(5, 4, density=0.4, generator=_drawn()),
            StandardSparseLayer(4, 3, density=0.5, bias=False, generator=_drawn()),
        ),
        (6, 5),
    ),
    "convolution": (_convolutional(nn.Conv2d(2, 4, 3, stride=2, padding=1), 4), (2, 7, 6)),
    "groups": (_convolutional(nn.Conv2d(4, 4, 3, groups=2), 4), (4, 7, 6)),
    "sparse convolution": (
        _convolutional(SparseConv2d(2, 4, 3, density=0.5, generator=_drawn()), 4),
        (2, 7, 6),
    ),
    "sparse convolution of weights": (
        _convolutional(
            SparseConv2d(2, 4, 3, padding=1, density=0.3, granularity="weight", generator=_drawn()),
            4,
        ),
        (2, 7, 6),
    ),
    "single weights at one position": (
        _convolutional(
            SparseConv2d(2, 4, (2, 3), density=0.3, granularity="weight", generator=_drawn()), 4
        ),
        (2, 2, 3),
    ),
    "called twice": (Twice(nn.Linear(5, 5)), (5,)),
    "sparse called twice": (
        Twice(StandardSparseLayer(5, 5, density=0.4, generator=_drawn())),
        (5,),
    ),
}


def _single(network: nn.Module, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Each sample's gradient of each layer, shape ``(N, P)``."""
    names, parameters = zip(*network.named_parameters(), strict=True)
    layers: dict[str, list[Tensor]] = {}
    for name, parameter in zip(names, parameters, strict=True):
        single = [
            torch.autograd.grad(F.cross_entropy(network(x[None]), y[None]), parameter)[0].flatten()
            for x, y in zip(inputs, targets, strict=True)
        ]
        layers.setdefault(name.rpartition(".")[0], []).append(torch.stack(single))
    return {name: torch.cat(parts, 1) for name, parts in layers.items()}


def _measured(
    network: nn.Module, batches: Sequence[tuple[Tensor, Tensor]]
) -> dict[str, SampleGradients]:
    reduction = SampleGradientNorms()
    passing = Pass(network, (reduction,))
    passing.run(batches, F.cross_entropy)
    return reduction.result(passing.readers)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("name", CASES)
def test_norms_and_cosines_are_those_of_the_single_gradients(name: str, storage: Storage) -> None:
    network, shape = CASES[name]
    set_storage(network.double(), storage)
    inputs = torch.randn(11, *shape, generator=_drawn(), dtype=torch.float64)
    targets = torch.randint(3, (11,), generator=_drawn())
    found = _measured(network, [(inputs[:8], targets[:8]), (inputs[8:], targets[8:])])
    expected = _single(network, inputs, targets)
    assert list(found) == list(expected)
    for layer, gradients in expected.items():
        one = found[layer]
        assert one.count == 11
        squares = gradients.square().sum(1).mean()
        assert one.mean_square == pytest.approx(float(squares), rel=1e-10)
        square_of_mean = float(gradients.mean(0).square().sum())
        assert one.square_of_mean == pytest.approx(square_of_mean, rel=1e-10)
        cosine = cosine_of_total(one.square_of_directions, one.directed)
        assert cosine == pytest.approx(mean_pairwise_cosine(gradients), abs=1e-10)


def test_samples_without_a_gradient_have_no_direction() -> None:
    network = nn.Sequential(nn.Linear(2, 2, bias=False)).double()
    inputs = torch.tensor([[1.0, 2.0], [0.0, 0.0]], dtype=torch.float64)
    found = _measured(network, [(inputs, torch.tensor([0, 1]))])["0"]
    assert (found.count, found.directed) == (2, 1)
    assert found.square_of_directions == pytest.approx(1)
