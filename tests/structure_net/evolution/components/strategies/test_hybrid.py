"""Several strategies that decide together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from structure_net import create_standard_network
from structure_net.errors import MissingAnalysisError
from structure_net.evolution import (
    ComposableEvolutionSystem,
    EditingStrategy,
    EventKind,
    GrowthStrategy,
    NetworkContext,
    Proposal,
    Tournament,
    part_from_dict,
    part_to_dict,
)
from structure_net.evolution.components import (
    ExtremaGrowthStrategy,
    HybridGrowthStrategy,
    StandardNetworkTrainer,
)
from structure_net.surgery import (
    AddNeurons,
    Edit,
    GradMax,
    Initialiser,
    RandomOutgoing,
    RemoveNeurons,
)


class Wanting(EditingStrategy):
    """Proposes what it is told."""

    def __init__(
        self, *edits: Edit, reason: str = "told", initialiser: Initialiser | None = None
    ) -> None:
        self.edits = edits
        self.reason = reason
        self.initialiser = initialiser

    def propose(self, context: NetworkContext, analysis: Any) -> Sequence[Proposal]:
        return [Proposal(edit, self.reason, self.initialiser) for edit in self.edits]


WIDEN, MORE, OTHER = AddNeurons("layers.0", 2), AddNeurons("layers.0", 4), AddNeurons("layers.1", 1)
HARM = RemoveNeurons("layers.0", tuple(range(15)))


@pytest.fixture
def context() -> NetworkContext:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(128, 6, generator=generator)
    targets = (inputs[:, 0] + inputs[:, 1] > 0).long()
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=32)
    network = create_standard_network([6, 16, 8, 2], density=0.5, seed=0)
    return NetworkContext(network, loader, validation_loader=loader)


def edits(strategy: HybridGrowthStrategy, context: NetworkContext) -> list[Edit]:
    return [proposal.edit for proposal in strategy.proposals(context, {})]


def test_by_priority_the_first_that_proposes_decides(context: NetworkContext) -> None:
    strategy = HybridGrowthStrategy([Wanting(), Wanting(WIDEN, OTHER), Wanting(MORE)])
    assert edits(strategy, context) == [WIDEN, OTHER]
    assert strategy.proposals(context, {})[0].reason == "Wanting: told"


def test_by_vote_more_than_half_must_want_the_same_kind_at_the_same_layer(
    context: NetworkContext,
) -> None:
    voters = [Wanting(WIDEN), Wanting(MORE, OTHER), Wanting()]
    strategy = HybridGrowthStrategy(voters, "vote")
    assert edits(strategy, context) == [WIDEN]
    assert "2 of 3 votes" in strategy.proposals(context, {})[0].reason
    assert not edits(HybridGrowthStrategy([Wanting(WIDEN), Wanting(OTHER)], "vote"), context)


def test_one_voter_has_one_vote(context: NetworkContext) -> None:
    twice = HybridGrowthStrategy([Wanting(WIDEN, MORE), Wanting(), Wanting()], "vote")
    assert edits(twice, context) == []


def test_in_a_tournament_the_candidate_with_the_best_held_out_loss_wins(
    context: NetworkContext,
) -> None:
    trained = StandardNetworkTrainer(3, 0.01).train(context.fork())
    strategy = HybridGrowthStrategy(
        [Wanting(HARM), Wanting(WIDEN)], "tournament", tournament=Tournament(batches=8)
    )
    system = ComposableEvolutionSystem([strategy, StandardNetworkTrainer(1)])
    events: list[Any] = []
    evolved = system.evolve_network(trained, 1, on_event=events.append)
    edited = [event.detail["edit"] for event in events if event.kind is EventKind.EDITED]
    if edited:
        assert edited == [WIDEN]
        noted = evolved.journal.events("grew")[-1].detail
        losses = noted["held_out_loss_of_candidates"]
        assert losses[1] == min(losses) < noted["held_out_loss_without"]
    else:
        noted = evolved.journal.events("rejected")[-1].detail
        assert min(noted["held_out_loss_of_candidates"]) >= noted["held_out_loss_without"]


def test_nothing_wins_where_every_candidate_does_harm(context: NetworkContext) -> None:
    trained = StandardNetworkTrainer(5, 0.01).train(context.fork())
    strategy = HybridGrowthStrategy(
        [Wanting(HARM), Wanting(RemoveNeurons("layers.1", tuple(range(7))))], "tournament"
    )
    evolved = ComposableEvolutionSystem([strategy]).evolve_network(trained, 1)
    assert not evolved.journal.edits
    rejected = evolved.journal.events("rejected")
    assert len(rejected[0].detail["edits"]) == 2
    same = zip(trained.network.parameters(), evolved.network.parameters(), strict=True)
    assert all(torch.equal(before, after) for before, after in same)


def test_a_repeated_candidate_is_tried_once(context: NetworkContext) -> None:
    strategy = HybridGrowthStrategy([Wanting(WIDEN), Wanting(WIDEN)], "tournament")
    assert len(strategy.options(context, {})) == 1


@pytest.mark.parametrize("mode", ["priority", "vote", "tournament"])
def test_new_units_begin_as_the_strategy_that_wants_them_says(
    context: NetworkContext, mode: Any
) -> None:
    strategy = HybridGrowthStrategy([Wanting(WIDEN, initialiser=GradMax())] * 2, mode)
    assert [p.initialiser for p in strategy.proposals(context, {})] == [GradMax()]


def test_candidates_that_begin_otherwise_are_all_tried(context: NetworkContext) -> None:
    begins = [GradMax(), RandomOutgoing(), None]
    wanted = [Wanting(WIDEN, initialiser=begin) for begin in begins]
    options = HybridGrowthStrategy(wanted, "tournament").options(context, {})
    assert [one.initialiser for option in options for one in option] == begins


def test_what_each_strategy_requires_is_required(context: NetworkContext) -> None:
    strategy = HybridGrowthStrategy([Wanting(WIDEN), ExtremaGrowthStrategy()])
    with pytest.raises(MissingAnalysisError, match="HybridGrowthStrategy needs 'extrema_dead'"):
        ComposableEvolutionSystem([strategy]).evolve_network(context, 1)


def test_it_survives_json() -> None:
    strategy = HybridGrowthStrategy(
        [ExtremaGrowthStrategy(patch_size=2), ExtremaGrowthStrategy(0.5)],
        "tournament",
        tournament=Tournament(batches=3),
    )
    stored = part_to_dict(strategy)
    again = part_from_dict(stored)
    assert part_to_dict(again) == stored
    assert again.tournament == Tournament(batches=3)


def test_strategies_that_cannot_be_compared_are_refused() -> None:
    class ByHand(GrowthStrategy):
        def should_grow(self, context: NetworkContext, analysis: Any) -> bool:
            return False

        def grow(self, context: NetworkContext, analysis: Any) -> NetworkContext:
            return context

    with pytest.raises(TypeError, match="ByHand proposes nothing"):
        HybridGrowthStrategy([ByHand(), Wanting()])  # type: ignore[list-item] # the mistake
    with pytest.raises(ValueError, match="got 1"):
        HybridGrowthStrategy([Wanting()])
    with pytest.raises(ValueError, match="mode must be one of priority, vote, tournament"):
        HybridGrowthStrategy([Wanting(), Wanting()], "lottery")  # type: ignore[arg-type] # same


def test_one_strategy_without_a_list_is_refused() -> None:
    with pytest.raises(TypeError, match="must be a list of two strategies or more; got Extrema"):
        HybridGrowthStrategy(ExtremaGrowthStrategy())  # type: ignore[arg-type]
