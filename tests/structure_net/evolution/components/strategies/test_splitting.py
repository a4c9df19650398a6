"""Units that are split, and copies that fade in as the journal tells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from structure_net.evolution import (
    ComposableEvolutionSystem,
    EpochRecord,
    NetworkContext,
    Proposal,
    TrainingHistory,
    part_from_dict,
    part_to_dict,
)
from structure_net.evolution.components import (
    FadeInStrategy,
    NeuronSplitStrategy,
    SplitAnalyzer,
    StandardNetworkTrainer,
    due_shares,
)
from structure_net.evolution.components.strategies.fading import fades
from structure_net.evolution.editing import carry_out
from structure_net.surgery import (
    EventEntry,
    Journal,
    RemoveNeurons,
    ShareNeurons,
    SplitNeurons,
    load_checkpoint,
    replay,
    save_checkpoint,
)

INPUTS = torch.randn(96, 6, generator=torch.Generator().manual_seed(0))
SCORES: dict[str, Any] = {
    "split_ranking": {"2": 1.0, "0": 2.0},
    "split_gradient_scores": {"0": torch.tensor([0.0, 4, 0, 1, 0, 0, 0, 0])},
    "split_activation_scores": {"0": torch.tensor([0.0, 0, 0, 9, 0, 8, 0, 0])},
}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))


@pytest.fixture
def context() -> NetworkContext:
    targets = INPUTS[:, :3].argmax(1)
    batches = list(zip(INPUTS.split(32), targets.split(32), strict=True))
    return NetworkContext(network(), batches, example=INPUTS[:2])


def split(context: NetworkContext, *indices: int, epoch: int | None = None) -> NetworkContext:
    proposal = Proposal(SplitNeurons("0", indices, noise=0.1, share=0.0))
    context = carry_out(context, [proposal], component="test")
    if epoch is not None:
        context.journal.append(EventEntry("grew", 0, "test", {"epoch": epoch}))
    return context


def at_epoch(context: NetworkContext, epoch: int) -> NetworkContext:
    records = [EpochRecord(n, 0, n, {}, 0, 0) for n in range(1, epoch + 1)]
    return replace(context, history=TrainingHistory(records))


def shared(proposal: Proposal) -> ShareNeurons:
    assert isinstance(proposal.edit, ShareNeurons)
    return proposal.edit


@pytest.mark.parametrize(
    ("strategy", "unit"), [("gradient_based", 1), ("activation_based", 3), ("hybrid", 3)]
)
def test_units_are_chosen_by_gradient_by_activation_or_by_both(
    context: NetworkContext, strategy: Any, unit: int
) -> None:
    """Both scaled to [0, 1]: unit 1 has (1 + 0) / 2, unit 3 (1/4 + 1) / 2."""
    made = NeuronSplitStrategy(strategy, count=1)
    assert made.requires >= {"split_ranking"}
    edits = [proposal.edit for proposal in made.proposals(context, SCORES)]
    assert edits == [SplitNeurons("0", (unit,), noise=0.1, share=0.0)]


def test_a_fraction_of_the_units_is_split_and_without_fading_all_at_once(
    context: NetworkContext,
) -> None:
    made = NeuronSplitStrategy(fraction=0.2, noise=0.0, progressive_activation_epochs=0)
    (proposal,) = made.proposals(context, SCORES)
    assert proposal.edit == SplitNeurons("0", (3, 1), noise=0.0, share=0.5)


def test_what_is_due_goes_with_every_split_that_a_tournament_tries(context: NetworkContext) -> None:
    divided = at_epoch(split(context, 2, epoch=1), 2)
    made = NeuronSplitStrategy(count=1)
    wide = {"split_ranking": {"0": 1.0}} | {
        key: {"0": torch.cat([scores["0"], torch.zeros(1)])}
        for key, scores in SCORES.items()
        if key != "split_ranking"
    }
    ((due, one),) = made.options(divided, wide)
    assert shared(due).pairs
    assert isinstance(one.edit, SplitNeurons)
    ((alone,),) = made.options(divided, {**wide, "split_ranking": {}})
    assert alone == due
    assert made.options(context, {**SCORES, "split_ranking": {}}) == ()


def test_a_copy_has_its_share_after_the_epochs_and_the_function_stays_on_the_way(
    context: NetworkContext,
) -> None:
    """Without noise and without training unit and copy stay equal."""
    before = context.network(INPUTS)
    edit = Proposal(SplitNeurons("0", (3, 1), share=0.0))
    context = carry_out(context, [edit], component="test")
    context.journal.append(EventEntry("grew", 0, "test", {"epoch": 2}))
    strategy, shares = FadeInStrategy(4), []
    for epoch in range(2, 9):
        now = at_epoch(context, epoch)
        if strategy.should_grow(now, {}):
            strategy.grow(now, {})
        weight = context.network.get_parameter("2.weight").detach()
        shares.append(float(weight[0, 8] / (weight[0, 3] + weight[0, 8])))
        torch.testing.assert_close(context.network(INPUTS), before, rtol=0, atol=1e-5)
    assert shares == pytest.approx([0, 0.125, 0.25, 0.375, 0.5, 0.5, 0.5], abs=1e-6)
    assert not fades(context.journal)


def test_nothing_more_is_due_in_the_same_epoch(context: NetworkContext) -> None:
    now = at_epoch(split(context, 3, epoch=0), 1)
    first = due_shares(now, 5)
    assert [(e.pairs, e.fraction) for e in map(shared, first)] == [(((3, 8),), 0.1)]
    carry_out(now, first, component="test")
    assert due_shares(now, 5) == []
    late = due_shares(at_epoch(now, 9), 5)
    assert shared(late[0]).fraction == pytest.approx((0.5 - 0.1) / 0.9)


def test_without_an_event_the_iteration_is_the_clock(context: NetworkContext) -> None:
    context = split(context, 3)
    assert due_shares(context, 2) == []
    (proposal,) = due_shares(replace(context, iteration=1), 2)
    assert proposal.edit == ShareNeurons("0", ((3, 8),), 0.25)


def test_copies_are_followed_through_later_edits(context: NetworkContext) -> None:
    context = split(context, 3, 6)
    carry_out(context, [Proposal(RemoveNeurons("0", (1, 6)))], component="test")
    (fade,) = fades(context.journal)
    assert (fade.unit, fade.copy) == (2, 6)
    carry_out(context, [Proposal(RemoveNeurons("0", (2,)))], component="test")
    assert fades(context.journal) == ()


def test_a_unit_that_was_split_twice_shares_in_two_edits(context: NetworkContext) -> None:
    context = split(split(context, 3), 3)
    edits = [one.edit for one in due_shares(replace(context, iteration=1), 2)]
    assert edits == [ShareNeurons("0", ((3, 8),), 0.25), ShareNeurons("0", ((3, 9),), 0.25)]


def test_a_resumed_run_fades_on_and_the_journal_replays(
    context: NetworkContext, tmp_path: Any
) -> None:
    system = ComposableEvolutionSystem(
        [
            SplitAnalyzer(),
            NeuronSplitStrategy(count=1, progressive_activation_epochs=3),
            StandardNetworkTrainer(1, 0.01),
        ]
    )
    whole = system.evolve_network(context, 4)
    half = system.evolve_network(context, 2)
    path = tmp_path / "half.safetensors"
    save_checkpoint(path, half.network, journal=half.journal)
    stored = load_checkpoint(path, network(), example=INPUTS[:2])
    assert fades(stored.journal) == fades(half.journal) != ()
    shares = [one.edit for one in whole.journal.edits if isinstance(one.edit, ShareNeurons)]
    assert len(shares) >= 3
    replayed = replay(network(), Journal(whole.journal), INPUTS[:2])
    assert replayed[0].weight.shape == whole.network.get_parameter("0.weight").shape
    again = system.evolve_network(half, 2)
    assert again.journal == whole.journal


def test_the_analyzer_ranks_layers_by_the_gradient_at_their_units(context: NetworkContext) -> None:
    found = ComposableEvolutionSystem([SplitAnalyzer()]).analyze(context)
    assert set(found["split_ranking"]) == {"0", "2"}
    for layer, score in found["split_ranking"].items():
        moments = found["split_gradient_scores"][layer]
        assert score == pytest.approx(float(moments.mean().sqrt()))
        assert found["split_activation_scores"][layer].shape == moments.shape


def test_strategies_survive_json() -> None:
    for strategy in (NeuronSplitStrategy("activation_based", noise=0.2), FadeInStrategy(3)):
        stored = part_to_dict(strategy)
        assert part_to_dict(part_from_dict(stored)) == stored


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"strategy": "loudest"}, "strategy must be one of"),
        ({"places": 0}, "places must be 1 or more; got 0"),
        ({"count": 0}, "count must be 1 or more; got 0"),
        ({"noise": float("inf")}, "noise must be finite; got inf"),
        ({"fraction": 0.0}, "fraction must be in"),
        ({"noise": -1.0}, "noise must be 0"),
        ({"progressive_activation_epochs": -1}, "progressive_activation_epochs must be 0"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        NeuronSplitStrategy(**options)
