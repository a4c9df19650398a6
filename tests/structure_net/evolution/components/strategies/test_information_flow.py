"""Growth at bottlenecks, by what they lack."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from structure_net.errors import MissingAnalysisError
from structure_net.evolution import ComposableEvolutionSystem, NetworkContext
from structure_net.evolution.components import (
    InformationFlowGrowthStrategy,
    ResidualBlockGrowthStrategy,
    SimpleInformationFlowAnalyzer,
)
from structure_net.evolution.components.strategies.feasible import ranked_places, sparse_layer
from structure_net.evolution.metrics.bottlenecks import Bottleneck
from structure_net.evolution.metrics.validity import Unavailable
from structure_net.surgery import AddConnections, AddNeurons, AddResidualBlock
from structure_net.testing import example_context


def lacking(layer: str, units: int, width: int) -> dict[str, Any]:
    worst = Bottleneck(layer, 4.0, 4.0 * width / units, units, width)
    return {"information_bottlenecks": {layer: worst}}


def dense_context(*widths: int) -> NetworkContext:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    inputs = torch.randn(256, widths[0])
    batches = [(inputs, inputs[:, 0].gt(0).long())]
    return NetworkContext(nn.Sequential(*layers[:-1]), batches)


def test_a_dense_layer_gets_the_neurons_that_it_lacks() -> None:
    context = dense_context(6, 8, 8, 2)
    (proposal,) = InformationFlowGrowthStrategy().proposals(context, lacking("2", 8, 13))
    assert proposal.edit == AddNeurons("2", 5)
    assert "8 units pass on 4.0 directions of 6.5" in proposal.reason


def test_an_expansion_is_bounded() -> None:
    strategy = InformationFlowGrowthStrategy(max_neurons_per_expansion=3)
    (proposal,) = strategy.proposals(dense_context(6, 8, 8, 2), lacking("2", 8, 80))
    assert proposal.edit == AddNeurons("2", 3)


def test_neurons_come_in_whole_groups() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 8, 3), nn.GroupNorm(2, 8), nn.Conv2d(8, 4, 1), nn.Flatten(), nn.Linear(16, 2)
    )
    context = NetworkContext(network, [(torch.randn(4, 2, 4, 4), torch.zeros(4).long())])
    proposals = InformationFlowGrowthStrategy().proposals(context, lacking("0", 8, 15))
    counts = [p.edit.count for p in proposals if isinstance(p.edit, AddNeurons)]
    assert all(count % 4 == 0 for count in counts)


def test_a_sparse_layer_gets_as_large_a_fraction_of_connections_as_it_lacks() -> None:
    context = example_context()
    layer = sparse_layer(context, "layers.1")
    assert layer is not None
    (proposal,) = InformationFlowGrowthStrategy().proposals(context, lacking("layers.1", 16, 20))
    assert isinstance(proposal.edit, AddConnections)
    assert len(proposal.edit.pairs) == -(-layer.connections // 4)
    assert proposal.edit.scale == 0.0
    live = set(zip(layer.pattern.rows.tolist(), layer.pattern.columns.tolist(), strict=True))
    assert live.isdisjoint(proposal.edit.pairs)


def test_a_sparse_layer_that_is_dense_enough_is_widened() -> None:
    strategy = InformationFlowGrowthStrategy(dense_enough=0.1)
    (proposal,) = strategy.proposals(example_context(), lacking("layers.1", 16, 20))
    assert proposal.edit == AddNeurons("layers.1", 4)


def test_connections_alone_leave_dense_layers_as_they_are() -> None:
    strategy = InformationFlowGrowthStrategy(how="connections")
    assert not strategy.proposals(dense_context(6, 8, 8, 2), lacking("2", 8, 12))


def test_a_planted_bottleneck_is_found_and_widened() -> None:
    context = dense_context(24, 24, 2, 24, 8)
    system = ComposableEvolutionSystem(
        [SimpleInformationFlowAnalyzer(), InformationFlowGrowthStrategy()]
    )
    ((_, _, edit),) = system.propose(context)
    assert isinstance(edit, AddNeurons)
    assert edit.layer == "2"


def test_a_residual_block_goes_behind_the_layer_with_the_highest_score() -> None:
    context = dense_context(6, 8, 8, 2)
    analysis = {"my_score": {"0": 0.1, "2": 0.7, "4": Unavailable("it is the head")}}
    (proposal,) = ResidualBlockGrowthStrategy("my_score").proposals(context, analysis)
    assert proposal.edit == AddResidualBlock("2")
    assert proposal.reason == "my_score of 0.7 is the highest"


def test_scores_at_the_threshold_are_left_alone() -> None:
    context, analysis = dense_context(6, 8, 8, 2), {"my_score": {"0": 0.1, "2": 0.7}}
    assert not ResidualBlockGrowthStrategy("my_score", threshold=0.7).proposals(context, analysis)


def test_depth_has_a_limit() -> None:
    context, analysis = dense_context(6, 8, 8, 2), {"my_score": {"0": 0.1}}
    assert ResidualBlockGrowthStrategy("my_score", max_layers=5).proposals(context, analysis)
    assert not ResidualBlockGrowthStrategy("my_score", max_layers=4).proposals(context, analysis)


def test_a_residual_block_keeps_the_function() -> None:
    context = dense_context(6, 8, 8, 2)
    inputs = context.data_loader[0][0]  # type: ignore[index]
    before = context.network(inputs)
    grown = ResidualBlockGrowthStrategy("s").grow(context.fork(), {"s": {"0": 1.0}})
    torch.testing.assert_close(grown.network(inputs), before, rtol=0, atol=0)


def test_places_are_ranked_from_the_highest_and_without_the_unknown() -> None:
    found = ranked_places({"s": {"a": 1.0, "b": Unavailable("no"), "c": 3, "d": float("nan")}}, "s")
    assert list(found.items()) == [("c", 3.0), ("a", 1.0)]
    with pytest.raises(TypeError, match="must map layers to numbers; 's' is 3"):
        ranked_places({"s": 3}, "s")


def test_a_score_that_nobody_provides_is_named() -> None:
    system = ComposableEvolutionSystem([ResidualBlockGrowthStrategy("my_score")])
    with pytest.raises(MissingAnalysisError, match="needs 'my_score'"):
        system.evolve_network(dense_context(6, 8, 2), 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"places": 0}, "places must be 1 or more; got 0"),
        ({"how": "magic"}, "how must be one of auto, neurons, connections; got 'magic'"),
        ({"max_neurons_per_expansion": 0}, "max_neurons_per_expansion must be 1 or more; got 0"),
        ({"dense_enough": 1.5}, r"dense_enough must be in \[0, 1\]; got 1.5"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InformationFlowGrowthStrategy(**arguments)


@pytest.mark.parametrize("arguments", [{"max_layers": 0}, {"width": 0}])
def test_blocks_out_of_range_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"must be 1 or more.*; got 0"):
        ResidualBlockGrowthStrategy(**arguments)  # type: ignore[arg-type] # a table of arguments
