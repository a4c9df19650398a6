"""Looks in training mode see what training would, and leave no trace of it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.core import sparse_layers
from structure_net.core.crossover import set_crossover
from structure_net.core.running import train
from structure_net.core.undoing import Undoing
from structure_net.errors import StructureNetError
from structure_net.evolution import ComposableEvolutionSystem, Need, NetworkContext, observe
from structure_net.evolution.components import (
    ConnectionAnalyzer,
    ConnectionCandidateAnalyzer,
    SensitivityAnalyzer,
    StandardExtremaAnalyzer,
)
from structure_net.surgery import densify, sparsify


class Net(nn.Module):
    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.dropout, self.out = nn.Dropout(dropout), nn.Linear(6, 3)

    def forward(self, images: Tensor) -> Tensor:
        hidden = torch.relu(self.norm(self.conv(images))).mean((2, 3))
        found: Tensor = self.out(self.dropout(hidden))
        return found


def made(dropout: float = 0.0) -> tuple[Any, list[tuple[Tensor, Tensor]]]:
    torch.manual_seed(0)
    network = sparsify(Net(dropout).double(), 0.5, by="random")
    data = [(3 * torch.randn(7, 2, 5, 5).double() + 1, torch.randint(3, (7,))) for _ in range(3)]
    return network, data


def dense_gradients(network: Any, data: Any, *, training: bool) -> dict[str, Tensor]:
    dense = copy.deepcopy(network)
    densify(dense)
    dense.train(training)
    weights = {"conv": dense.conv.weight, "out": dense.out.weight}
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for inputs, targets in data:
        found = torch.autograd.grad(F.cross_entropy(dense(inputs), targets), [*weights.values()])
        for name, one in zip(weights, found, strict=True):
            total[name] += one / len(data)
    return {
        name: one.flatten(2).norm(dim=2) if one.dim() > 2 else one.abs()
        for name, one in total.items()
    }


@pytest.mark.parametrize("mode", ["training", "evaluation"])
@pytest.mark.parametrize("storage", ["live", "masked"])
def test_the_gradient_of_all_places_is_that_of_the_mode(
    mode: Literal["training", "evaluation"], storage: Any
) -> None:
    set_crossover(storage)
    try:
        network, data = made()
    finally:
        set_crossover(None)
    expected = dense_gradients(network, data, training=mode == "training")
    system = ComposableEvolutionSystem(
        [ConnectionAnalyzer(3, mode=mode), ConnectionCandidateAnalyzer(50, 3, mode=mode)]
    )
    found = system.analyze(NetworkContext(network, data))
    for name, layer in sparse_layers(network).items():
        gradient = found["connection_gradient"][name]
        torch.testing.assert_close(gradient, expected[name], atol=1e-12, rtol=0)
        places, magnitudes = found["candidate_gradient"][name]
        assert len(places) == int((~layer.pattern.mask()).sum())
        wanted = expected[name].flatten()[places]
        torch.testing.assert_close(magnitudes, wanted, atol=1e-12, rtol=0)


def test_the_gradient_that_regrows_is_that_of_training_unless_asked_otherwise() -> None:
    assert ConnectionAnalyzer().mode == ConnectionCandidateAnalyzer().mode == "training"
    with pytest.raises(ValueError, match="'training' or 'evaluation'; got 'train'"):
        ConnectionAnalyzer(mode="train")  # type: ignore[arg-type]


@pytest.mark.parametrize("training", [True, False])
def test_a_look_in_training_mode_leaves_the_network_as_it_was(training: bool) -> None:
    network, data = made(dropout=0.5)
    network.train(training)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state, hooks = torch.get_rng_state(), [dict(m._forward_hooks) for m in network.modules()]
    context = NetworkContext(network, data)
    first, again = (
        ComposableEvolutionSystem([ConnectionAnalyzer(3)]).analyze(context)["connection_gradient"]
        for _ in range(2)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(torch.equal(before[name], one) for name, one in network.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert all(module.training is training for module in network.modules())
    assert hooks == [dict(module._forward_hooks) for module in network.modules()]
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_normalisation_that_is_frozen_stays_so_in_a_look() -> None:
    network, data = made()
    network.norm.eval()
    expected = dense_gradients(network, data, training=False)
    found = ComposableEvolutionSystem([ConnectionAnalyzer(3)]).analyze(
        NetworkContext(network, data)
    )
    torch.testing.assert_close(
        found["connection_gradient"]["conv"], expected["conv"], atol=1e-12, rtol=0
    )


def test_analyzers_of_both_modes_find_what_each_finds_alone() -> None:
    network, data = made()
    context = NetworkContext(network, iter_again(data))
    together = [StandardExtremaAnalyzer(max_batches=2), ConnectionAnalyzer(3)]
    both = ComposableEvolutionSystem(together).analyze(context)
    for one in together:
        alone = ComposableEvolutionSystem([one]).analyze(context)
        for key in one.provides & {"connection_gradient", "extrema_dead_ratio"}:
            assert str(both[key]) == str(alone[key])


def iter_again(data: Any) -> Any:
    """Shuffled, from torch's global state."""
    return torch.utils.data.DataLoader(data, batch_size=None, shuffle=True)


def test_units_are_seen_in_training_mode_with_every_need() -> None:
    network, data = made(dropout=0.5)
    needs = frozenset({Need.ACTIVATIONS})
    undo = Undoing()
    with undo, undo:
        train(network, undo)
        hidden = torch.relu(network.norm(network.conv(data[0][0])))
    seen = observe(network, data[:1], needs=needs, mode="training")
    assert seen.mode == "training"
    expected = hidden.mean((0, 2, 3)).detach()
    torch.testing.assert_close(seen.layers["conv"].mean, expected, atol=1e-12, rtol=0)
    row: Any = nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.5), nn.ReLU(), nn.Linear(5, 2)).double()
    torch.manual_seed(1)
    inputs = torch.randn(6, 4).double()
    torch.manual_seed(2)
    expected = row[2](row[1](row[0](inputs))).mean(0).detach()
    torch.manual_seed(2)
    seen = observe(row, [(inputs, torch.zeros(6).long())], mode="training")
    torch.testing.assert_close(seen.layers["0"].mean, expected, atol=1e-12, rtol=0)


def test_an_observation_of_the_other_mode_is_refused() -> None:
    network, data = made()
    needs = ConnectionAnalyzer.needs
    seen = observe(network, data, needs=needs, loss=F.cross_entropy)
    context = replace(NetworkContext(network, data), observation=seen)
    assert ConnectionAnalyzer(mode="evaluation").analyze(context)
    with pytest.raises(StructureNetError, match="observation in training mode; the context's is"):
        ConnectionAnalyzer().analyze(context)
    seen = observe(network, data, needs=needs, loss=F.cross_entropy, mode="training")
    with pytest.raises(StructureNetError, match="Observe with mode='evaluation'"):
        SensitivityAnalyzer().analyze(replace(context, observation=seen))
