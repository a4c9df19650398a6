"""Rates of their own in whole runs: they go on from call to call, and into resumed runs."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from structure_net import create_standard_network
from structure_net.evolution import ComposableEvolutionSystem, EveryNEpochs, NetworkContext
from structure_net.evolution.adaptive_learning_rates import (
    AgeBasedRates,
    ExponentialBackoffScheduler,
    GrowthPhaseScheduler,
    UnifiedAdaptiveLearning,
)
from structure_net.evolution.components import (
    ExtremaGrowthStrategy,
    StandardExtremaAnalyzer,
    StandardNetworkTrainer,
)


def context() -> NetworkContext:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(96, 8, generator=generator)
    targets = (inputs[:, 0] * inputs[:, 1] > 0).long()
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=32)
    network = create_standard_network([8, 12, 10, 2], density=0.15, seed=0)
    return NetworkContext(network, loader, validation_loader=loader)


def system() -> ComposableEvolutionSystem:
    rates = UnifiedAdaptiveLearning(
        GrowthPhaseScheduler(scaffold_factor=0.3, growth_steps=5),
        AgeBasedRates(),
        ExponentialBackoffScheduler(patience=1),
    )
    return (
        ComposableEvolutionSystem()
        .add_component(StandardExtremaAnalyzer())
        .add_component(ExtremaGrowthStrategy(patch_size=3), when=EveryNEpochs(1))
        .add_component(StandardNetworkTrainer(epochs=3, rates=rates))
    )


def weights(network: nn.Module) -> list[torch.Tensor]:
    return list(network.parameters())


def test_evolution_in_two_calls_equals_evolution_in_one() -> None:
    once = system().evolve_network(context(), 3)
    first = system().evolve_network(context(), 1)
    twice = system().evolve_network(first, 2)
    assert len(once.journal.edits) > 0
    assert all(map(torch.equal, weights(once.network), weights(twice.network)))


def test_a_trainer_leaves_the_optimizer_free_for_other_rules() -> None:
    evolved = system().evolve_network(context(), 1)
    assert evolved.optimizer is not None
    StandardNetworkTrainer(1, rates=AgeBasedRates()).train(evolved)
    with UnifiedAdaptiveLearning(AgeBasedRates()).attach(evolved.optimizer, evolved.network) as its:
        assert "x age" in its.explain()


def test_rates_change_what_is_learned() -> None:
    plain = StandardNetworkTrainer(1).train(context().fork())
    aged = StandardNetworkTrainer(1, rates=AgeBasedRates(3.0)).train(context().fork())
    assert not all(map(torch.equal, weights(plain.network), weights(aged.network)))
