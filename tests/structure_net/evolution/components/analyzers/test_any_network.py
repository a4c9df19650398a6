"""What every analyzer holds to on networks and data that are out of the ordinary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from math import isnan
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.core import create_standard_network
from structure_net.evolution import Analyzer, ComposableEvolutionSystem, NetworkContext
from structure_net.evolution.components import analyzers
from structure_net.evolution.metrics import Unavailable
from tests.laws.storages import crossover

Batches = list[tuple[Any, Tensor]]

ANALYZERS = sorted(
    name
    for name in analyzers.__all__
    if isinstance(made := getattr(analyzers, name), type) and issubclass(made, Analyzer)
)


class Tied(nn.Module):
    """An autoencoder that decodes by its encoder's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 6)
        self.weight = nn.Parameter(torch.randn(4, 6))

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(F.linear(torch.relu(self.first(x)), self.weight))
        return F.linear(F.linear(hidden, self.weight.t()), self.first.weight.t())


class Named(nn.Module):
    """Two inputs by name, and an output in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 6), nn.Linear(5, 6)
        self.out = nn.Linear(12, 3)

    def forward(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        joined = torch.cat([torch.relu(self.left(left)), torch.tanh(self.right(right))], 1)
        return {"logits": self.out(joined)}


class Recurrent(nn.Module):
    """The last state of an LSTM decides."""

    def __init__(self) -> None:
        super().__init__()
        self.states, self.out = nn.LSTM(8, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.states(x)[0][:, -1])


def plain(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for read, written in pairwise(widths):
        layers += [nn.Linear(read, written), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def constant() -> nn.Module:
    model = plain(8, 6, 5, 3)
    with torch.no_grad():
        model[0].weight.zero_()
    return model


def broken() -> nn.Module:
    with crossover("masked"):  # whose mask can be written
        model = create_standard_network([8, 12, 12, 3], density=0.5, seed=0)
    layer = model.layers[1]
    with torch.no_grad():
        layer.mask.zero_()
        layer.weight.zero_()
    assert not layer.connections
    return model


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(36, 10),
    )  # fmt: skip


def vectors(size: int = 16, batches: int = 3, classes: int = 3) -> Batches:
    return [(torch.randn(size, 8), torch.randint(classes, (size,))) for _ in range(batches)]


def named_loss(output: Mapping[str, Tensor], targets: Tensor) -> Tensor:
    return F.cross_entropy(output["logits"], targets)


CASES: dict[str, Callable[[], tuple[nn.Module, Batches, Any]]] = {
    "convolutions in training": lambda: (
        convolutional(),
        [(torch.randn(4, 3, 8, 8), torch.randint(10, (4,))) for _ in range(2)],
        F.cross_entropy,
    ),
    "tied weights": lambda: (Tied(), [(x, x) for x, _ in vectors()], F.mse_loss),
    "named inputs": lambda: (
        Named(),
        [
            ({"left": torch.randn(6, 4), "right": torch.randn(6, 5)}, torch.randint(3, (6,)))
            for _ in range(2)
        ],
        named_loss,
    ),
    "recurrent": lambda: (
        Recurrent(),
        [(torch.randn(6, 5, 8), torch.randint(3, (6,))) for _ in range(2)],
        F.cross_entropy,
    ),
    "one unit a layer": lambda: (plain(8, 1, 1, 3), vectors(), F.cross_entropy),
    "one sample": lambda: (plain(8, 6, 5, 3), vectors(1, 1), F.cross_entropy),
    "one class": lambda: (plain(8, 6, 5, 3), vectors(classes=1), F.cross_entropy),
    "regression": lambda: (
        plain(8, 6, 5, 1),
        [(x, torch.randn(16, 1)) for x, _ in vectors()],
        F.mse_loss,
    ),
    "constant units": lambda: (constant(), vectors(), F.cross_entropy),
    "disconnected": lambda: (
        create_standard_network([8, 12, 12, 3], density=0.1, seed=0), vectors(), F.cross_entropy
    ),
    "a layer without connections": lambda: (broken(), vectors(), F.cross_entropy),
    "nothing to learn": lambda: (
        plain(8, 6, 5, 3).requires_grad_(False), vectors(), F.cross_entropy
    ),
}  # fmt: skip


def looked(name: str, network: nn.Module, data: Any, loss: Any) -> dict[str, Any]:
    """Every value of one look."""
    system = ComposableEvolutionSystem([getattr(analyzers, name)()])
    found = system.analyze(NetworkContext(network, data, loss=loss))
    return {key: found[key] for key in found}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ANALYZERS)
def test_an_analyzer_looks_at_any_network_and_leaves_it_as_it_was(name: str, case: str) -> None:
    torch.manual_seed(0)
    network, data, loss = CASES[case]()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    found = looked(name, network, data, loss)
    assert found
    for key, value in found.items():
        if key.endswith("_ranking") and not isinstance(value, Unavailable):
            scores = [score for score in value.values() if not isinstance(score, Unavailable)]
            assert not any(isnan(score) for score in scores), key
    after = network.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


def test_batches_that_can_be_read_once_give_one_look_or_a_way_out() -> None:
    assert looked("GradientAnalyzer", plain(8, 6, 5, 3), iter(vectors()), F.cross_entropy)
    with pytest.raises(ValueError, match="iterated again and again"):
        looked("HomologicalAnalyzer", plain(8, 6, 5, 3), iter(vectors()), F.cross_entropy)


def test_weights_that_are_not_finite_are_a_reason_not_a_number() -> None:
    network = plain(8, 6, 5, 3)
    with torch.no_grad():
        network[2].weight[0, 0] = torch.nan
    of_graph = looked("GraphAnalyzer", network, vectors(), F.cross_entropy)
    for value in of_graph.values():
        assert isinstance(value, Unavailable)
        assert "'2' are not finite" in value.reason
    of_weights = looked("NetworkStatsAnalyzer", network, vectors(), F.cross_entropy)
    spectra = of_weights["network_spectra"]
    assert isinstance(spectra["2"], Unavailable)
    assert not isinstance(spectra["0"], Unavailable)
