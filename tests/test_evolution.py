"""Pipelines of one's own: components put together, phases, and components that a user writes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from structure_net import create_standard_network
from structure_net.core import network_stats
from structure_net.data import Dataset, load_dataset
from structure_net.evolution.components import (
    ComposableEvolutionSystem,
    ExtremaGrowthStrategy,
    NetworkContext,
    NetworkStatsAnalyzer,
    ResidualBlockGrowthStrategy,
    SimpleInformationFlowAnalyzer,
    StandardExtremaAnalyzer,
    StandardNetworkTrainer,
)
from structure_net.evolution.interfaces import Analyzer, GrowthStrategy
from structure_net.surgery import AddNeurons, AddResidualBlock, edit
from structure_net.testing import check_analyzer, check_strategy
from tests.judging import accuracy


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits", seed=0).flattened()


def sparse_context(data: Dataset, sparsity: float) -> NetworkContext:
    network = create_standard_network([64, 64, 32, 10], sparsity=sparsity, seed=0)
    return NetworkContext(network, data.train.batches(64, shuffle=True, seed=0), "cpu")


def test_custom_evolution_pipeline(digits: Dataset) -> None:
    context = sparse_context(digits, 0.1)

    evolution_system = ComposableEvolutionSystem()
    evolution_system.add_component(
        StandardExtremaAnalyzer(max_batches=10, dead_threshold=0.01, saturated_multiplier=2.5)
    )
    evolution_system.add_component(
        ExtremaGrowthStrategy(extrema_threshold=0.3, patch_size=20, add_layer_on_extrema=True)
    )
    evolution_system.add_component(StandardNetworkTrainer(epochs=5, learning_rate=0.01))
    evolved_context = evolution_system.evolve_network(context, num_iterations=3)

    assert len(evolved_context.history) == 15
    assert evolved_context.journal.edits
    assert accuracy(evolved_context, digits) > 0.85


def test_multi_scale_evolution(digits: Dataset) -> None:
    coarse_system = ComposableEvolutionSystem()
    coarse_system.add_component(StandardExtremaAnalyzer())
    coarse_system.add_component(ExtremaGrowthStrategy(patch_size=50))
    coarse_system.add_component(StandardNetworkTrainer(epochs=10))

    medium_system = ComposableEvolutionSystem()
    medium_system.add_component(StandardExtremaAnalyzer())
    medium_system.add_component(ExtremaGrowthStrategy(add_layer_on_extrema=True))
    medium_system.add_component(StandardNetworkTrainer(epochs=5))

    fine_system = ComposableEvolutionSystem()
    fine_system.add_component(SimpleInformationFlowAnalyzer())
    fine_system.add_component(ResidualBlockGrowthStrategy())
    fine_system.add_component(StandardNetworkTrainer(epochs=3))

    context = sparse_context(digits, 0.05)
    context = coarse_system.evolve_network(context, num_iterations=3)
    context = medium_system.evolve_network(context, num_iterations=2)
    context = fine_system.evolve_network(context, num_iterations=1)

    assert len(context.history) == 3 * 10 + 2 * 5 + 3
    assert context.iteration == 6
    assert isinstance(context.journal.edits[-1].edit, AddResidualBlock)
    assert accuracy(context, digits) > 0.85


class MyCustomAnalyzer(Analyzer):
    def analyze(self, context: NetworkContext) -> dict[str, Any]:
        widest = max(layer["outputs"] for layer in network_stats(context.network)["layers"])
        return {"my_metric": 1 / widest, "another_metric": context.iteration}


class MyGrowthStrategy(GrowthStrategy):
    threshold = 1 / 70

    def should_grow(self, context: NetworkContext, analysis: dict[str, Any]) -> bool:
        return bool(analysis.get("my_metric", 0) > self.threshold)

    def grow(self, context: NetworkContext, analysis: dict[str, Any]) -> NetworkContext:
        example = next(iter(context.data_loader))[0]
        edit(context.network, AddNeurons("layers.0", 8), example, optimizer=context.optimizer)
        return context


def test_an_analyzer_and_a_strategy_of_ones_own(digits: Dataset) -> None:
    system = ComposableEvolutionSystem()
    system.add_component(MyCustomAnalyzer())
    system.add_component(NetworkStatsAnalyzer())
    system.add_component(MyGrowthStrategy())
    system.add_component(StandardNetworkTrainer(epochs=1))
    evolved = system.evolve_network(sparse_context(digits, 0.05), num_iterations=3)
    # 64 units become 72, which is above the threshold's 70.
    assert evolved.network.layers[0].out_features == 72  # type: ignore[index, union-attr]
    # What it did by hand stands in the journal as an event that cannot be replayed.
    (event,) = evolved.journal.events("opaque")
    assert event.component == "MyGrowthStrategy"


def test_components_of_ones_own_pass_the_batteries() -> None:
    check_analyzer(MyCustomAnalyzer())
    check_strategy(MyGrowthStrategy(), [MyCustomAnalyzer()])


def test_any_module_can_evolve(digits: Dataset) -> None:
    torch.manual_seed(0)
    images = load_dataset("digits", seed=0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )
    with torch.no_grad():
        network[6].bias[:16] = -100.0
    context = NetworkContext(network, images.train.batches(64, shuffle=True, seed=0))
    system = ComposableEvolutionSystem()
    system.add_component(StandardExtremaAnalyzer())
    system.add_component(ExtremaGrowthStrategy(add_layer_on_extrema=True))
    system.add_component(StandardNetworkTrainer(epochs=2))
    evolved = system.evolve_network(context, num_iterations=2)
    kinds = {type(entry.edit).__name__ for entry in evolved.journal.edits}
    assert {"ResetNeurons", "InsertLayer"} <= kinds
    assert accuracy(evolved, images) > 0.85
