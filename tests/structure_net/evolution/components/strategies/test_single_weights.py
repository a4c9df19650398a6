"""Strategies in front of convolutions whose connections are single weights, and large layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from structure_net.core import SparseConv2d, SparsePattern, StandardSparseLayer
from structure_net.core.statistics import network_stats
from structure_net.evolution import ComposableEvolutionSystem, NetworkContext
from structure_net.evolution.components import (
    ConnectionAnalyzer,
    ExtremaGrowthStrategy,
    GraphAnalyzer,
    HebbianAnalyzer,
    InformationFlowGrowthStrategy,
    RigL,
    SensitivityAnalyzer,
    SimpleInformationFlowAnalyzer,
    SparseEvolutionaryTraining,
    SparseMomentum,
    StandardExtremaAnalyzer,
)
from structure_net.evolution.components.strategies import PruningGrowthStrategy
from structure_net.evolution.components.strategies.feasible import (
    absent,
    absent_into,
    drawn_absent_pairs,
)
from structure_net.evolution.metrics.connections import layer_connections


def _drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _context() -> NetworkContext:
    network = nn.Sequential(
        SparseConv2d(2, 6, 3, density=0.3, granularity="weight", generator=_drawn()),
        nn.ReLU(),
        SparseConv2d(6, 4, 3, density=0.2, granularity="weight", generator=_drawn(1)),
        nn.ReLU(),
        nn.Flatten(),
        StandardSparseLayer(4 * 4, 3, density=0.4, generator=_drawn(2)),
    )
    with torch.no_grad():
        bias: Any = network[0].bias
        bias[1] = -100.0  # a dead channel
    inputs = torch.randn(24, 2, 6, 6, generator=_drawn(3))
    return NetworkContext(network, [(inputs, torch.arange(24) % 3)])


COMPONENTS: dict[str, list[Any]] = {
    "SET": [SparseEvolutionaryTraining()],
    "RigL": [ConnectionAnalyzer(), RigL()],
    "SparseMomentum": [ConnectionAnalyzer(), SparseMomentum()],
    "extrema": [StandardExtremaAnalyzer(), ExtremaGrowthStrategy(patch_size=3)],
    "information": [SimpleInformationFlowAnalyzer(), InformationFlowGrowthStrategy()],
    "looking": [GraphAnalyzer(), HebbianAnalyzer()],
    "magnitude": [PruningGrowthStrategy({"density": 0.1})],
    "sensitivity": [
        SensitivityAnalyzer(),
        PruningGrowthStrategy({"density": 0.1}, score="gradient"),
    ],
    "synflow": [PruningGrowthStrategy({"density": 0.1}, score="synflow")],
}


@pytest.mark.parametrize("name", COMPONENTS)
def test_components_understand_single_weights(name: str) -> None:
    context = _context()
    system = ComposableEvolutionSystem(COMPONENTS[name])
    dict(system.analyze(context))
    after: Any = system.evolve_network(context, 1).network
    assert after(context.data_loader[0][0]).isfinite().all()  # type: ignore[index]  # a list
    for layer in (after[0], after[2]):
        assert layer.granularity == "weight"


def test_pruning_takes_single_weights() -> None:
    context = _context()
    before = network_stats(context.network)["total_connections"]
    pruned = ComposableEvolutionSystem(COMPONENTS["magnitude"]).evolve_network(context, 1).network
    assert network_stats(pruned)["total_connections"] < before / 2


def test_graphs_see_the_norm_of_what_joins_two_units() -> None:
    pattern = SparsePattern.from_pairs([(0, 0), (0, 8), (1, 9)], (2, 18))
    layer = SparseConv2d(2, 2, 3, pattern=pattern, granularity="weight")
    layer.fill(torch.tensor([3.0, 4.0, 2.0]))
    (found,) = layer_connections(nn.Sequential(layer)).values()
    assert found.pattern is not None
    assert found.pattern.pairs == ((0, 0), (1, 1))
    assert found.weights.tolist() == [5.0, 2.0]


def test_what_units_lack_is_found_by_rows_and_by_columns() -> None:
    pattern = SparsePattern.from_pairs([(0, 1), (1, 0), (2, 2)], (3, 4))
    layer = StandardSparseLayer(4, 3, pattern=pattern)
    whole = ~pattern.mask()
    assert torch.equal(absent(layer, [2, 0]), whole[[2, 0]])
    assert torch.equal(absent_into(layer, torch.tensor([1, 3])), whole[:, [1, 3]].T)


@pytest.mark.parametrize("full", [False, True])
def test_large_layers_draw_what_they_lack_in_proportion(full: bool) -> None:
    outputs, inputs, each = 1100, 1000, 4
    layer = StandardSparseLayer(inputs, outputs, density=0.05, generator=_drawn())
    weight = torch.ones(inputs)
    weight[: inputs // 2] = 3.0
    if full:
        weight[6:] = 0.0
    pairs = torch.tensor(drawn_absent_pairs(layer, weight, each, _drawn(1)))
    keys = pairs[:, 0] * inputs + pairs[:, 1]
    assert bool((keys.diff() > 0).all())
    assert not bool(layer.pattern.mask()[pairs[:, 0], pairs[:, 1]].any())
    counts = torch.bincount(pairs[:, 0], minlength=outputs)
    if full:
        lacking = (~layer.pattern.mask()[:, :6]).sum(1)
        assert torch.equal(counts, lacking.clamp_max(each))
        return
    assert bool((counts == each).all())
    # Three quarters of 4400 in the first half: deviation 29.
    share = int((pairs[:, 1] < inputs // 2).sum())
    assert abs(share - 3300) < 5 * 29


def test_without_weight_or_number_nothing_is_drawn() -> None:
    layer = StandardSparseLayer(1100, 1000, density=0.01, generator=_drawn())
    assert drawn_absent_pairs(layer, torch.zeros(1100), 3, _drawn()) == []
    assert drawn_absent_pairs(layer, torch.ones(1100), 0, _drawn()) == []
