"""Strategies in front of convolutions whose connections are single weights, and large layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from structure_net.core import SparseConv2d, SparsePattern, StandardSparseLayer
from structure_net.core.layers import Granularity
from structure_net.core.statistics import network_stats
from structure_net.core.storage import StoredLayer
from structure_net.evolution import ComposableEvolutionSystem, NetworkContext
from structure_net.evolution.components import (
    ConnectionAnalyzer,
    ExtremaGrowthStrategy,
    GradientAnalyzer,
    GraphAnalyzer,
    HebbianAnalyzer,
    InformationFlowGrowthStrategy,
    RigL,
    SensitivityAnalyzer,
    SimpleInformationFlowAnalyzer,
    SparseEvolutionaryTraining,
    SparseMomentum,
    StandardExtremaAnalyzer,
    WidthGrowthStrategy,
)
from structure_net.evolution.components.strategies import PruningGrowthStrategy
from structure_net.evolution.components.strategies.feasible import Lacking
from structure_net.evolution.components.strategies.prunable import connection_table
from structure_net.evolution.components.strategies.worth import connection_worth
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
    "width": [GradientAnalyzer(), WidthGrowthStrategy()],
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
    assert torch.equal(Lacking.of(layer).matrix(), whole)
    assert torch.equal(Lacking.of(layer, [2, 0]).matrix(), whole[[2, 0]])
    assert torch.equal(Lacking.of(layer, [2, 0]).matrix(torch.tensor([1])), whole[[0]])
    read = Lacking((pattern.columns, pattern.rows), (4, 3), [1, 3])
    assert torch.equal(read.matrix(), whole[:, [1, 3]].T)


def test_a_few_units_of_a_large_layer_draw_without_its_matrix() -> None:
    units, width = list(range(0, 60_000, 2)), 60_000
    layer = StandardSparseLayer(width, 60_000, density=1e-5, generator=_drawn())
    pairs = torch.tensor(Lacking.of(layer, units).drawn(torch.ones(width), 2, _drawn(1)))
    assert torch.equal(torch.bincount(pairs[:, 0]), torch.full((30_000,), 2))
    new = 2 * pairs[:, 0] * width + pairs[:, 1]
    assert not bool(torch.isin(new, layer.places).any())
    assert len(new.unique()) == len(new)


@pytest.mark.parametrize("full", [False, True])
def test_large_layers_draw_what_they_lack_in_proportion(full: bool) -> None:
    outputs, inputs, each = 1100, 1000, 4
    layer = StandardSparseLayer(inputs, outputs, density=0.05, generator=_drawn())
    weight = torch.ones(inputs)
    weight[: inputs // 2] = 3.0
    if full:
        weight[6:] = 0.0
    pairs = torch.tensor(Lacking.of(layer).drawn(weight, each, _drawn(1)))
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
    assert Lacking.of(layer).drawn(torch.zeros(1100), 3, _drawn()) == []
    assert Lacking.of(layer).drawn(torch.ones(1100), 0, _drawn()) == []


@pytest.mark.usefixtures("live_storage")
@pytest.mark.parametrize("kind", ["linear", "kernels", "weights"])
@pytest.mark.parametrize("score", ["magnitude", "gradient"])
def test_connections_are_worth_their_weights_and_no_matrix_is_made(
    kind: str, score: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer: StoredLayer
    if kind == "linear":
        layer = StandardSparseLayer(20, 30, density=0.1, generator=_drawn())
    else:
        each: Granularity = "kernel" if kind == "kernels" else "weight"
        layer = SparseConv2d(4, 6, 3, density=0.3, granularity=each, generator=_drawn())
    network = nn.Sequential(layer)
    importance = torch.rand(layer.weight.shape, generator=_drawn(1), dtype=torch.float64)
    values = layer.live_weights.detach().double() if score == "magnitude" else importance
    expected = values.reshape(len(layer.pattern), -1)
    # A kernel counts what its weights are worth on average: it costs all of them.
    squares = expected.square().mean(1).sqrt()
    expected = squares if score == "magnitude" else expected.mean(1)

    def refused(_: StoredLayer) -> torch.Tensor:
        raise AssertionError("a matrix was made")

    monkeypatch.setattr(StoredLayer, "dense_weight", refused)
    context, analysis = (
        NetworkContext(network, []),
        {"sensitivity_taylor": {"0.weight": importance}},
    )
    table = connection_table(network, connection_worth(score, context, analysis, 0.5))
    torch.testing.assert_close(table.scores, expected, rtol=0, atol=1e-12)
    assert torch.equal(table.rows, layer.pattern.rows)
