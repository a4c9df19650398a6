from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from structure_net.errors import StructureNetError
from structure_net.evolution import Always, NetworkContext, Tournament, Trial
from structure_net.evolution.components import StandardNetworkTrainer
from structure_net.evolution.measuring import held_out


def improve(context: NetworkContext) -> NetworkContext:
    """What a good growth amounts to: the network does better afterwards."""
    optimizer = torch.optim.Adam(context.network.parameters(), lr=0.01)
    for _ in range(30):
        for inputs, targets in context.data_loader:
            optimizer.zero_grad()
            context.loss(context.network(inputs), targets).backward()
            optimizer.step()
    return context


def spoil(context: NetworkContext) -> NetworkContext:
    with torch.no_grad():
        for parameter in context.network.parameters():
            parameter.mul_(30.0)
    return context


def test_a_trial_keeps_what_pays_and_rejects_what_does_not(context: NetworkContext) -> None:
    good = Trial(batches=3).judge(context, improve)
    bad = Trial(batches=3).judge(context, spoil)
    assert good.accepted
    assert not bad.accepted
    assert good.measured["held_out_loss"] <= good.measured["held_out_loss_without"]
    # The fork that does not grow is the same in both.
    assert good.measured["held_out_loss_without"] == bad.measured["held_out_loss_without"]


def test_a_growth_that_does_nothing_is_neither_gain_nor_loss(context: NetworkContext) -> None:
    verdict = Trial(batches=2).judge(context, lambda fork: fork)
    assert verdict.accepted
    assert verdict.measured["held_out_loss"] == verdict.measured["held_out_loss_without"]
    assert (
        not Trial(batches=2, performance_drop_threshold=-0.01)
        .judge(context, lambda fork: fork)
        .accepted
    )


def test_a_trial_with_dropout_gives_both_forks_the_same_noise(context: NetworkContext) -> None:
    network = nn.Sequential(nn.Linear(12, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    context = replace(context, network=network)
    state = torch.get_rng_state()
    verdict = Trial(batches=2).judge(context, lambda fork: fork)
    assert verdict.measured["held_out_loss"] == verdict.measured["held_out_loss_without"]
    assert torch.equal(torch.get_rng_state(), state)


def test_a_trial_goes_on_over_several_epochs(context: NetworkContext) -> None:
    def result(batches: int) -> float:
        verdict = Trial(batches=batches).judge(context, lambda fork: fork)
        return float(verdict.measured["held_out_loss"])

    # The loader has three batches.
    assert result(30) < result(3)
    with pytest.raises(StructureNetError, match="no batch for a trial"):
        Trial().judge(replace(context, data_loader=[]), improve)


def test_a_trial_begins_at_the_rate_with_which_the_schedule_began(
    context: NetworkContext,
) -> None:
    trained = StandardNetworkTrainer(1, 0.02).train(context.fork())
    assert trained.optimizer is not None
    rested = trained.optimizer.param_groups[0]["lr"]
    own = Trial(batches=3).judge(trained, lambda fork: fork)
    given = Trial(batches=3, learning_rate=0.02).judge(trained, lambda fork: fork)
    assert own == given
    # The context's own optimizer is not touched.
    assert trained.optimizer.param_groups[0]["lr"] == rested < 0.02


def test_a_trial_needs_held_out_data(context: NetworkContext) -> None:
    with pytest.raises(StructureNetError, match="no validation_loader"):
        Trial().judge(replace(context, validation_loader=None), improve)
    with pytest.raises(StructureNetError, match="gave no batch"):
        held_out(replace(context, validation_loader=[]))
    with pytest.raises(ValueError, match="batches must be 1 or more; got 0"):
        Trial(batches=0)


def test_always_does_not_even_try(context: NetworkContext) -> None:
    def never(fork: NetworkContext) -> NetworkContext:
        raise AssertionError

    assert Always().judge(context, never).accepted


def test_the_held_out_score_weighs_batches_by_their_length(context: NetworkContext) -> None:
    inputs = torch.cat([x for x, _ in context.validation_loader or ()])
    targets = torch.cat([y for _, y in context.validation_loader or ()])
    uneven = [(inputs[:7], targets[:7]), (inputs[7:], targets[7:])]
    score = held_out(replace(context, validation_loader=uneven))
    with torch.no_grad():
        output = context.network(inputs)
        expected = nn.functional.cross_entropy(output, targets)
    # float32 means of 96 losses in another order.
    assert score.loss == pytest.approx(float(expected), rel=1e-6)
    assert score.accuracy == float((output.argmax(1) == targets).double().mean())


def test_a_tournament_chooses_the_best_that_helps(context: NetworkContext) -> None:
    verdict = Tournament(batches=3).choose(context, [spoil, improve, lambda fork: fork])
    assert verdict.accepted
    assert verdict.chosen == 1
    scores = verdict.measured["held_out_loss_of_candidates"]
    assert scores[1] == min(scores) == verdict.measured["held_out_loss"]
    assert scores[2] == verdict.measured["held_out_loss_without"]


def test_none_wins_a_tournament_if_none_helps(context: NetworkContext) -> None:
    assert not Tournament(batches=3).choose(context, [spoil, lambda fork: fork]).accepted
    assert not Tournament(batches=3).judge(context, spoil).accepted


def test_a_tournament_tries_no_more_than_its_largest_number(context: NetworkContext) -> None:
    verdict = Tournament(batches=2, largest=1).choose(context, [spoil, improve])
    assert len(verdict.measured["held_out_loss_of_candidates"]) == 1
    assert not verdict.accepted


def test_judging_by_accuracy_tolerates_a_drop_in_points(context: NetworkContext) -> None:
    strict = Trial(batches=1, metric="accuracy").judge(context, spoil)
    found, without = (strict.measured[f"held_out_accuracy{end}"] for end in ("", "_without"))
    assert strict.accepted == (found >= without)
    tolerant = Trial(batches=1, metric="accuracy", performance_drop_threshold=1.0)
    assert tolerant.judge(context, spoil).accepted


@pytest.mark.parametrize(
    "make",
    [
        lambda: Trial(metric="f1"),  # type: ignore[arg-type] # the mistake
        lambda: Tournament(batches=0),
        lambda: Tournament(largest=0),
    ],
)
def test_impossible_policies_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="got"):
        make()
