from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from structure_net.core import network_stats
from structure_net.core.layers import Granularity
from structure_net.core.statistics import sparse_layers
from structure_net.errors import StructureNetError
from structure_net.evolution import ComposableEvolutionSystem, NetworkContext
from structure_net.evolution.components import ConnectionAnalyzer, PruningGrowthStrategy
from structure_net.evolution.components.strategies.budgets import (
    costs_of,
    in_whole_weights,
    is_met,
    kernel_entries,
    possible_weights,
    sparse_density,
)
from structure_net.evolution.metrics.saliency import masked_layers
from structure_net.surgery import sparsify
from structure_net.surgery.edits import MoveConnections, RemoveConnections


def _model() -> nn.Sequential:
    """Kernels of 9 and of 25 weights, and single ones: 72 + 1600 + 640 of them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 8, 5, padding=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(128, 5),
        )


def _context(network: nn.Module) -> NetworkContext:
    draw = torch.Generator().manual_seed(1)
    data = [(torch.randn(8, 1, 4, 4, generator=draw), torch.randint(5, (8,), generator=draw))]
    return NetworkContext(network, data)


def _live(network: nn.Module) -> int:
    return sum(layer.connections for layer in sparse_layers(network).values())


@pytest.mark.parametrize("granularity", ["kernel", "weight"])
@pytest.mark.parametrize("density", [0.5, 0.3, 0.07])
def test_pruning_to_what_sparsify_left_does_nothing(
    density: float, granularity: Granularity
) -> None:
    network = sparsify(_model(), density, by="random", granularity=granularity)
    assert sparse_density(network) == pytest.approx(network_stats(network)["density"], abs=1e-12)
    assert PruningGrowthStrategy({"density": density}).propose(_context(network), {}) == []


@pytest.mark.parametrize("score", ["magnitude", "synflow"])
@pytest.mark.parametrize("regrowth", [0.0, 0.3])
def test_a_density_is_met_in_weights_to_less_than_a_kernel(score: str, regrowth: float) -> None:
    network = sparsify(_model(), 0.5, by="random")
    wanted = round(0.2 * 2312)
    strategy = PruningGrowthStrategy({"density": 0.2}, score=score, regrowth=regrowth)
    system = ComposableEvolutionSystem([ConnectionAnalyzer(), strategy])
    after = system.evolve_network(_context(network), 1)
    assert wanted - 24 <= _live(after.network) <= wanted
    # What is said to go is what the layers have lost, without what came anew.
    lost = _live(network) - _live(after.network)
    assert f"prune {lost} of {_live(network)} connections" in after.journal.edits[0].reason


def test_what_grows_anew_is_counted_in_weights() -> None:
    network = sparsify(_model(), 0.5, by="random")
    strategy = PruningGrowthStrategy({"density": 0.2}, regrowth=0.3)
    system = ComposableEvolutionSystem([ConnectionAnalyzer(), strategy])
    after = system.evolve_network(_context(network), 1)
    said = {
        entry.edit.layer: (len(entry.edit.added), entry.reason)
        for entry in after.journal.edits
        if isinstance(entry.edit, MoveConnections)
    }
    assert "2" in said  # whose kernels have 25 weights
    for name, (made, reason) in said.items():
        weights = made * kernel_entries(sparse_layers(network)[name])
        assert f", grow {weights} connections anew" in reason


@pytest.mark.parametrize("score", ["magnitude", "synflow"])
def test_a_budget_without_a_weight_to_count_is_refused_in_its_own_words(score: str) -> None:
    strategy = PruningGrowthStrategy({"density": 0.0001}, score=score)
    with pytest.raises(StructureNetError, match="No sparse layer has scores"):
        strategy.propose(_context(_model()), {})
    with pytest.raises(StructureNetError, match=r"The budget \(density 0.0001\) cannot be met"):
        strategy.propose(_context(sparsify(_model(), 0.5, by="random")), {})


def test_of_equal_weights_none_go_for_the_size_of_their_kernel() -> None:
    """All weights of the kernels are .1 and single ones .05 or .2: half of the latter go."""
    network = sparsify(_model(), 1.0, by="random")
    layers = masked_layers(network)
    for layer in layers.values():
        layer.fill(torch.full_like(layer.live_weights, 0.1))
    values = torch.full_like(layers["5"].live_weights, 0.05)
    values[::2] = 0.2
    layers["5"].fill(values)
    strategy = PruningGrowthStrategy({"density": (2312 - 320) / 2312})
    (proposal,) = strategy.propose(_context(network), {})
    assert isinstance(proposal.edit, RemoveConnections)
    assert (proposal.edit.layer, len(proposal.edit.pairs)) == ("5", 320)


def test_regrowth_keeps_the_budget_where_a_layer_is_not_called() -> None:
    class Aside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.aside = nn.Linear(20, 5), nn.Linear(20, 20)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.used(inputs)
            return out

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = sparsify(Aside(), 0.5, by="random")
    draw = torch.Generator().manual_seed(1)
    data = [(torch.randn(8, 20, generator=draw), torch.randint(5, (8,), generator=draw))]
    strategy = PruningGrowthStrategy({"density": 0.2}, regrowth=0.3)
    system = ComposableEvolutionSystem([ConnectionAnalyzer(), strategy])
    after = system.evolve_network(NetworkContext(network, data), 1)
    assert _live(after.network) == 100
    assert any("anew" in entry.reason for entry in after.journal.edits)


def test_a_density_counts_weights_and_frozen_layers_where_asked() -> None:
    network = sparsify(_model(), 0.5, by="random")
    layers = sparse_layers(network)
    assert [kernel_entries(layer) for layer in layers.values()] == [9, 25, 1]
    assert possible_weights(layers.values()) == 2312
    layers["5"].get_parameter("weight").requires_grad_(False)
    kernels = layers["0"].connections + layers["2"].connections
    assert costs_of(network, None, {"density": 1.0}) == {"density": _live(network) / 2312}
    assert costs_of(network, None, {"density": 1.0}, frozen=False) == {"density": kernels / 1672}


def test_a_density_is_near_where_half_of_the_largest_kernel_is_too_much() -> None:
    layers = sparse_layers(sparsify(_model(), 0.5, by="random")).values()
    targets = in_whole_weights({"density": 0.2, "parameters": 7.5}, layers)
    assert targets == {"density": 462 / 2312, "parameters": 7.5}
    for more, met in ((0, True), (12, True), (13, False)):
        costs = {"density": (462 + more) / 2312, "parameters": 7.0}
        assert is_met(costs, targets, layers) == met
    assert not is_met({"density": 0.1, "parameters": 8.0}, targets, layers)
    single = [layer for layer in layers if kernel_entries(layer) == 1]
    whole = in_whole_weights({"density": 1 / 3}, single)
    assert whole == {"density": 213 / 640}
    assert is_met({"density": math.nextafter(213 / 640, 1)}, whole, single)
    assert not is_met({"density": 214 / 640}, whole, single)
