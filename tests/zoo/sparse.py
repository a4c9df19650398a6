"""Networks of the framework's own sparse layers, which rearrange themselves."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from structure_net.core import (
    SparseConv2d,
    StandardNetwork,
    StandardSparseLayer,
    TemporaryPatchLayer,
    create_standard_network,
)
from tests.zoo.case import Case, floats


def sparse_mlp() -> StandardNetwork:
    """The network that the factory makes."""
    return create_standard_network([6, 8, 5, 3], density=0.6, seed=0)


def extrema_aware() -> StandardNetwork:
    """The same of layers that keep statistics of their units."""
    return create_standard_network(
        [6, 8, 5, 3], density=0.6, seed=0, activation="tanh", layer="extrema_aware"
    )


def patched() -> StandardNetwork:
    """The same with connections on trial, into and out of the first hidden layer."""
    network = sparse_mlp()
    for number in (0, 1):
        base = network.layers[number]
        absent = (~base.pattern.mask()).nonzero()[::3]
        network.layers[number] = TemporaryPatchLayer(base, absent, scale=0.5)
    return network


def sparse_convolutions() -> nn.Module:
    """Sparse convolutions under BatchNorm, and a sparse head."""
    return nn.Sequential(
        SparseConv2d(3, 6, 3, padding=1, density=0.6),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        SparseConv2d(6, 5, 3, stride=2, padding=1, density=0.6, bias=False),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        StandardSparseLayer(5, 3, density=0.7),
    )


class SparseStream(nn.Module):
    """A residual stream under LayerNorm that sparse layers write and read."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = StandardSparseLayer(6, 8, density=0.6)
        self.norm = nn.LayerNorm(8)
        self.up = StandardSparseLayer(8, 10, density=0.6)
        self.down = StandardSparseLayer(10, 8, density=0.6)
        self.head = StandardSparseLayer(8, 3, density=0.6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.down(torch.relu(self.up(self.norm(x))))
        return self.head(x)


CASES = (
    Case("sparse_mlp", sparse_mlp, floats(6), laws=True, outputs=("layers.2",)),
    Case("extrema_aware", extrema_aware, floats(6), laws=True, outputs=("layers.2",)),
    Case("patched", patched, floats(6), laws=True, outputs=("layers.2",)),
    Case("sparse_convolutions", sparse_convolutions, floats(3, 6, 6), laws=True, outputs=("8",)),
    Case("sparse_stream", SparseStream, floats(4, 6), laws=True, outputs=("head",)),
)
