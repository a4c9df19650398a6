from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from structure_net.core.layers import StandardSparseLayer
from structure_net.dnm import AdaptiveNeuronDivision, ConnectionGrowthManager
from structure_net.evolution import Analyzer, NetworkContext
from structure_net.evolution.components import LayerPerformanceAnalyzer, SplitAnalyzer
from structure_net.evolution.serialising import part_from_dict, part_to_dict
from structure_net.surgery import AddConnections, AddSkipConnection, SplitNeurons, apply
from structure_net.testing import check_strategy, example_context

LOOKS: tuple[Analyzer, ...] = (LayerPerformanceAnalyzer(), SplitAnalyzer())


def dense() -> NetworkContext:
    """The example's data under a dense network of three hidden layers."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 8)]
        network = nn.Sequential(*layers, nn.ReLU(), nn.Linear(8, 3))
    return replace(example_context(), network=network)


ANALYSIS = {
    "performance_ranking": {"layers.0": 0.2, "layers.1": 0.7},
    "split_gradient_scores": {"layers.0": torch.arange(16.0), "layers.1": torch.arange(16.0)},
    "split_activation_scores": {
        "layers.0": torch.arange(16.0).flip(0),
        "layers.1": torch.arange(16.0).flip(0),
    },
}


@pytest.mark.parametrize("start", [example_context, dense])
def test_division_keeps_the_promises_of_a_strategy(start: object) -> None:
    check_strategy(AdaptiveNeuronDivision(), LOOKS, start())  # type: ignore[operator]


@pytest.mark.parametrize("start", [example_context, dense])
def test_connection_growth_keeps_the_promises_of_a_strategy(start: object) -> None:
    check_strategy(ConnectionGrowthManager(), LOOKS, start())  # type: ignore[operator]


@pytest.mark.parametrize(
    ("strategy", "units"),
    [("gradient_based", (14, 15)), ("activation_based", (0, 1))],
)
def test_the_units_with_the_highest_scores_of_the_narrowest_layer_divide(
    strategy: str, units: tuple[int, ...]
) -> None:
    division = AdaptiveNeuronDivision(strategy, fraction=2 / 16)  # type: ignore[arg-type]
    (proposal,) = division.proposals(example_context(), ANALYSIS)
    assert isinstance(proposal.edit, SplitNeurons)
    assert proposal.edit.layer == "layers.1"
    assert tuple(sorted(proposal.edit.indices)) == units
    assert proposal.edit.noise == 0.1


def test_a_sparse_layer_gets_a_fraction_of_its_connections_once_more() -> None:
    context = example_context()
    layer = context.network.get_submodule("layers.1")
    assert isinstance(layer, StandardSparseLayer)
    (proposal,) = ConnectionGrowthManager(0.25).proposals(context, ANALYSIS)
    edit = proposal.edit
    assert isinstance(edit, AddConnections)
    assert edit.layer == "layers.1"
    assert edit.scale == 0
    each = -(-layer.connections // 4 // layer.out_channels)
    rows = [row for row, _ in edit.pairs]
    free = (~layer.pattern.mask()).sum(1)
    assert all(rows.count(row) == min(each, int(free[row])) for row in range(16))


def test_connection_growth_keeps_the_function() -> None:
    for context in (example_context(), dense()):
        inputs = next(iter(context.train_batches(1)))[0]
        names = ["layers.1", "layers.0"] if hasattr(context.network, "layers") else ["4", "2", "0"]
        analysis = {"performance_ranking": {name: 1.0 / n for n, name in enumerate(names, 1)}}
        (proposal,) = ConnectionGrowthManager().proposals(context, analysis)
        before = context.network(inputs)
        apply(context.network, proposal.edit, inputs[:2])
        torch.testing.assert_close(context.network(inputs), before, rtol=1e-5, atol=1e-6)


def test_a_dense_network_gets_a_path_around_its_narrowest_layer() -> None:
    analysis = {"performance_ranking": {"4": 0.9, "2": 0.5, "0": 0.1}}
    (proposal,) = ConnectionGrowthManager().proposals(dense(), analysis)
    assert proposal.edit == AddSkipConnection("2", "6")
    first = {"performance_ranking": {"0": 0.9, "2": 0.5, "4": 0.1}}  # nothing is in front of it
    (proposal,) = ConnectionGrowthManager().proposals(dense(), first)
    assert proposal.edit == AddSkipConnection("0", "4")


def test_the_strategies_are_stored_by_their_arguments() -> None:
    for part in (AdaptiveNeuronDivision("hybrid", 0.2, 3), ConnectionGrowthManager(0.5)):
        stored = part_to_dict(part)
        again = part_from_dict(stored, known=[type(part)])
        assert part_to_dict(again) == stored


def test_a_fraction_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="fraction must be positive; got 0"):
        ConnectionGrowthManager(0)
