"""Growth strategies of the DEN library in an evolution system."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from structure_net.den import (
    AdaptiveGrowth,
    BiologicalGrowth,
    DENEvolution,
    DENSignalsAnalyzer,
    DynamicExpandableNetwork,
    GradientBasedGrowth,
    GrowthStrategy,
    LossBasedGrowth,
)
from structure_net.den.evolving import changes_of, edit_of
from structure_net.errors import MissingAnalysisError
from structure_net.evolution import (
    ComposableEvolutionSystem,
    EpochRecord,
    NetworkContext,
    TrainingHistory,
    Trial,
    part_from_dict,
    part_to_dict,
)
from structure_net.evolution.components import StandardNetworkTrainer
from structure_net.surgery import AddNeurons
from structure_net.testing import check_analyzer, check_strategy

STRATEGIES = [
    LossBasedGrowth(patience=1, cooldown=0),
    GradientBasedGrowth(patience=1, cooldown=0, gradient_threshold=1e-6),
    AdaptiveGrowth(patience=1, cooldown=0),
    BiologicalGrowth(patience=1, cooldown=0),
]


def context(epochs: int = 0, seed: int = 0) -> NetworkContext:
    """A network with data, after some epochs of equal loss."""
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(seed))
    targets = (inputs[:, 0] > 0).long()
    batches = [(inputs[:32], targets[:32]), (inputs[32:], targets[32:])]
    network = DynamicExpandableNetwork(4, 2, [6, 9], task_type="classification", seed=seed)
    records = [
        EpochRecord(n + 1, 0, n + 1, {"train_loss": 1.0}, network.get_num_parameters(), 0)
        for n in range(epochs)
    ]
    history = TrainingHistory(records)
    return NetworkContext(network, batches, validation_loader=batches, history=history, seed=seed)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda one: type(one).__name__)
def test_a_strategy_keeps_the_promises_of_its_role(strategy: GrowthStrategy) -> None:
    check_strategy(DENEvolution(strategy), [DENSignalsAnalyzer()], context(3))


def test_the_analyzer_keeps_the_promises_of_its_role() -> None:
    check_analyzer(DENSignalsAnalyzer(), context(), prefix="den_")


def test_an_evolution_grows_trains_and_leaves_its_start_alone() -> None:
    start = context()
    system = ComposableEvolutionSystem(
        [
            DENSignalsAnalyzer(),
            DENEvolution(AdaptiveGrowth(patience=1, cooldown=0, loss_threshold=9.0)),
            StandardNetworkTrainer(epochs=2),
        ]
    )
    evolved = system.evolve_network(start, 3)
    assert isinstance(start.network, DynamicExpandableNetwork)
    assert isinstance(evolved.network, DynamicExpandableNetwork)
    assert start.network.get_layer_sizes() == [6, 9]
    # Two layers are few; of three the sizes vary enough. The first iteration has no epoch yet.
    assert len(evolved.network.get_layer_sizes()) == 3
    assert [change["type"] for change in changes_of(evolved.journal)] == ["depth", "width"]


def test_growth_that_does_harm_can_be_rejected() -> None:
    system = ComposableEvolutionSystem([DENSignalsAnalyzer()])
    strict = Trial(batches=1, performance_drop_threshold=-0.9)
    system.add_component(DENEvolution(LossBasedGrowth(patience=1)), whether=strict)
    evolved = system.evolve_network(context(3), 1)
    assert isinstance(evolved.network, DynamicExpandableNetwork)
    assert evolved.network.get_layer_sizes() == [6, 9]
    assert evolved.journal.events("rejected")


def test_the_adapter_is_stored_as_data() -> None:
    stored = part_to_dict(DENEvolution(LossBasedGrowth(patience=4)))
    again = part_from_dict(stored, known=[DENEvolution, LossBasedGrowth])
    assert again.strategy.patience == 4


def test_nothing_is_decided_before_the_first_epoch() -> None:
    assert DENEvolution(LossBasedGrowth(patience=0)).propose(context(), {}) == []


def test_the_signals_of_the_newest_epoch_come_from_the_analyzer() -> None:
    strategy = DENEvolution(GradientBasedGrowth(patience=1, gradient_threshold=0.5))
    loud = {"den_gradient_norms": {"layers.0": 0.2, "layers.1": 1.8}}
    (proposal,) = strategy.propose(context(3), loud)
    assert proposal.edit == AddNeurons("layers.1", 2)
    with pytest.raises(MissingAnalysisError, match="DENSignalsAnalyzer"):
        strategy.propose(context(3), {})


def test_an_action_becomes_an_edit() -> None:
    network = context().network
    assert isinstance(network, DynamicExpandableNetwork)
    action = {"type": "width", "layer_idx": -1, "num_neurons": 2}
    assert edit_of(network, action) == AddNeurons("layers.1", 2)


@pytest.mark.parametrize("said", [True, None, (True, "why", 1)])
def test_an_answer_that_is_no_pair_is_refused(said: Any) -> None:
    class Answering(GrowthStrategy):
        def should_grow(self, metrics: Any, network: Any, epoch: int) -> tuple[bool, str | None]:
            answer: tuple[bool, str | None] = said
            return answer

        def determine_growth_action(self, metrics: Any, network: Any) -> dict[str, Any]:
            raise AssertionError("nobody asks")

    with pytest.raises(TypeError, match=r"should_grow must return a pair, .*; got "):
        DENEvolution(Answering()).propose(context(1), {})


def test_other_networks_and_other_strategies_are_refused() -> None:
    other = NetworkContext(nn.Linear(2, 1), [])
    with pytest.raises(TypeError, match="DynamicExpandableNetwork"):
        DENEvolution(LossBasedGrowth()).propose(other, {})
    with pytest.raises(TypeError, match="DynamicExpandableNetwork"):
        DENSignalsAnalyzer().analyze(other)
    with pytest.raises(TypeError, match="GrowthStrategy"):
        DENEvolution(AddNeurons("a", 1))  # type: ignore[arg-type]
