from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from structure_net.core.optimizers import Adam
from structure_net.errors import TrainingDivergedError
from structure_net.evolution import (
    ComposableEvolutionSystem,
    EveryNSteps,
    NetworkContext,
)
from structure_net.evolution.components import (
    ExtremaGrowthStrategy,
    StandardExtremaAnalyzer,
    StandardNetworkTrainer,
)
from structure_net.evolution.components.trainers.snapshots import Snapshot


def plain(context: NetworkContext, epochs: int, rate: float) -> list[float]:
    """The loop that everyone writes; returns the mean loss of each epoch."""
    optimizer = Adam(context.network.parameters(), lr=rate)
    means = []
    for _ in range(epochs):
        losses = []
        context.network.train()
        for inputs, targets in context.data_loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(context.network(inputs), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        means.append(sum(losses) / len(losses))
    return means


def test_training_is_the_loop_that_everyone_writes(context: NetworkContext) -> None:
    by_hand = context.fork()
    means = plain(by_hand, 3, 0.01)
    trained = StandardNetworkTrainer(3, 0.01, schedule="constant").train(context.fork())
    for name, value in trained.network.state_dict().items():
        assert torch.equal(value, by_hand.network.state_dict()[name])
    # Means of the same float32 losses, taken in float64.
    assert trained.history.series("train_loss") == pytest.approx(means, rel=1e-7)


def test_the_record_of_an_epoch_is_complete(context: NetworkContext) -> None:
    trained = StandardNetworkTrainer(2, 0.02).train(context.fork())
    last = trained.history.last
    assert last is not None
    assert set(last.metrics) == {
        "train_loss",
        "train_accuracy",
        "validation_loss",
        "validation_accuracy",
        "learning_rate",
    }
    assert (last.epoch, last.step) == (2, 6)
    assert last.connections == trained.network.get_network_stats()["total_connections"]  # type: ignore[operator]
    assert trained.history.series("learning_rate")[0] == 0.02
    assert last.elapsed >= last.seconds > 0


def test_the_cosine_begins_anew_with_each_call_and_ends_low(context: NetworkContext) -> None:
    trainer = StandardNetworkTrainer(4, 0.02)
    twice = trainer.train(trainer.train(context.fork()))
    rates = twice.history.series("learning_rate")
    assert rates[0] == rates[4] == 0.02
    assert rates[:4] == rates[4:]
    assert list(rates[:4]) == sorted(rates[:4], reverse=True)
    assert twice.optimizer is not None
    assert twice.optimizer.param_groups[0]["lr"] == pytest.approx(0.02 * 0.01)


def test_an_optimizer_of_the_users_own_keeps_its_rates(context: NetworkContext) -> None:
    parameters = list(context.network.parameters())
    groups = [{"params": parameters[:2], "lr": 0.1}, {"params": parameters[2:], "lr": 0.2}]
    optimizer = torch.optim.SGD(groups)
    context = replace(context, optimizer=optimizer)
    trained = StandardNetworkTrainer(1, schedule="constant").train(context)
    assert trained.optimizer is optimizer
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.2]
    StandardNetworkTrainer(1, 0.05, schedule="constant").train(trained)
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.05]


def test_a_broken_loss_stops_and_gives_back_the_last_good_weights(
    context: NetworkContext,
) -> None:
    batches = list(context.data_loader)
    start = StandardNetworkTrainer(1).train(context.fork())
    good = {name: value.clone() for name, value in start.network.state_dict().items()}
    assert start.optimizer is not None
    moments = [start.optimizer.state[p]["exp_avg"].clone() for p in start.network.parameters()]
    inputs, targets = batches[1]
    poisoned = [batches[0], (inputs * float("nan"), targets), batches[2]]
    with pytest.raises(TrainingDivergedError, match="loss is nan in epoch 2, batch 2"):
        StandardNetworkTrainer(3).train(replace(start, data_loader=poisoned))
    assert all(torch.equal(v, good[k]) for k, v in start.network.state_dict().items())
    restored = [start.optimizer.state[p]["exp_avg"] for p in start.network.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(restored, moments, strict=True))
    # It can go on with sound data.
    StandardNetworkTrainer(1).train(start)


def test_a_broken_loss_after_growth_within_the_epoch_returns_to_the_grown_network(
    context: NetworkContext,
) -> None:
    batches = list(context.data_loader)
    inputs, targets = batches[0]
    poisoned = [*batches, (inputs * float("nan"), targets)]
    system = ComposableEvolutionSystem([StandardExtremaAnalyzer(max_batches=3)])
    system.add_component(ExtremaGrowthStrategy(patch_size=2), when=EveryNSteps(2))
    system.add_component(StandardNetworkTrainer(1))
    left: list[NetworkContext] = []

    def watch(event: Any) -> None:
        if "context" in event.detail:
            left.append(event.detail["context"])

    with pytest.raises(TrainingDivergedError, match="epoch 1, batch 4"):
        system.evolve_network(replace(context, data_loader=poisoned), 1, on_event=watch)
    assert len(left[-1].journal.edits) > 0
    assert all(torch.isfinite(p).all() for p in left[-1].network.parameters())


def test_early_stopping_keeps_the_best_epoch(context: NetworkContext) -> None:
    fork = context.fork()
    trainer = StandardNetworkTrainer(40, 0.5, schedule="constant", patience=3)
    trained = trainer.train(fork)
    losses = trained.history.series("validation_loss")
    assert len(losses) < 40
    best = losses.index(min(losses))
    assert len(losses) == best + 1 + 3
    short = StandardNetworkTrainer(best + 1, 0.5, schedule="constant").train(context.fork())
    for name, value in trained.network.state_dict().items():
        assert torch.equal(value, short.network.state_dict()[name])


def test_gradients_are_clipped(context: NetworkContext) -> None:
    start = context.fork()
    before = {name: p.detach().clone() for name, p in start.network.named_parameters()}
    batch = [next(iter(context.data_loader))]
    trainer = StandardNetworkTrainer(
        1,
        1.0,
        optimizer=lambda parameters, rate: torch.optim.SGD(parameters, lr=rate),
        schedule="constant",
        clip_norm=0.1,
    )
    trainer.train(replace(start, data_loader=batch))
    moved = [
        (p.detach() - before[name]).square().sum() for name, p in start.network.named_parameters()
    ]
    # One step of rate 1 moves the weights by the clipped gradient; float32 norms.
    assert float(sum(moved)) ** 0.5 == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_every_optimizer_of_ours_is_compiled_or_fused(
    context: NetworkContext, optimizer: Any
) -> None:
    made = StandardNetworkTrainer(1, optimizer=optimizer).train(context.fork()).optimizer
    assert made is not None
    assert isinstance(made, Adam) or made.param_groups[0]["fused"] is True


def test_a_schedule_of_ones_own_is_stepped_after_each_step(context: NetworkContext) -> None:
    trainer = StandardNetworkTrainer(
        2, 1e-2, schedule=lambda opt, steps: torch.optim.lr_scheduler.StepLR(opt, 1, 0.5)
    )
    trained = trainer.train(context.fork())
    assert trained.history.series("learning_rate") == (1e-2, 1e-2 / 8)


def test_regression_has_no_accuracy(context: NetworkContext) -> None:
    network = nn.Linear(12, 1)
    batches = [(inputs, inputs.sum(1, keepdim=True)) for inputs, _ in context.data_loader]
    regression = NetworkContext(network, batches, loss=F.mse_loss, validation_loader=batches)
    trained = StandardNetworkTrainer(20, 0.1).train(regression)
    losses = trained.history.series("train_loss")
    assert losses[-1] < losses[0] / 10
    assert "train_accuracy" not in trained.history[0].metrics


def test_a_loader_without_a_length_trains_too(context: NetworkContext) -> None:
    batches = list(context.data_loader)

    class Endless(torch.utils.data.IterableDataset[Any]):
        def __iter__(self):  # type: ignore[no-untyped-def]
            return iter(batches)

    loader = torch.utils.data.DataLoader(Endless(), batch_size=None)
    trained = StandardNetworkTrainer(2, 0.02).train(replace(context.fork(), data_loader=loader))
    assert trained.history.series("learning_rate")[0] == 0.02
    assert trained.history.series("learning_rate")[1] < 0.02


def test_a_spent_generator_is_an_error_that_says_so(context: NetworkContext) -> None:
    spent = replace(context.fork(), data_loader=iter(list(context.data_loader)))
    with pytest.raises(ValueError, match="a generator is spent after one epoch"):
        StandardNetworkTrainer(2).train(spent)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be 1 or more; got 0"),
        ({"learning_rate": -1.0}, "learning_rate must be positive; got -1.0"),
        ({"optimizer": "adamax"}, "optimizer must be one of adam, adamw, sgd.*got 'adamax'"),
        ({"schedule": "linear"}, "schedule must be one of cosine, constant"),
        ({"clip_norm": 0.0}, "clip_norm must be positive"),
        ({"patience": 0}, "patience must be 1 or more"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StandardNetworkTrainer(**options)


def test_early_stopping_without_held_out_data_is_refused(context: NetworkContext) -> None:
    blind = replace(context, validation_loader=None)
    with pytest.raises(ValueError, match="no validation_loader"):
        StandardNetworkTrainer(patience=2).train(blind)


def test_a_snapshot_brings_back_every_tensor_and_can_do_so_twice() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(network.parameters())

    def step() -> None:
        optimizer.zero_grad()
        network(torch.randn(5, 3)).square().sum().backward()
        optimizer.step()

    step()
    kept = Snapshot(network, optimizer)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    for _ in range(2):
        step()
        kept.restore()
        assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())
        assert optimizer.state[network[0].weight]["step"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 1.5}, "epochs must be a whole number; got 1.5"),
        ({"patience": "2"}, "patience must be a whole number; got '2'"),
        ({"learning_rate": "fast"}, "learning_rate must be a number; got 'fast'"),
    ],
)
def test_what_is_no_number_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        StandardNetworkTrainer(**options)


def test_an_optimizer_that_needs_a_closure_is_refused_before_the_first_step(
    context: NetworkContext,
) -> None:
    with pytest.raises(TypeError, match="LBFGS computes the loss several times in a step"):
        StandardNetworkTrainer(1, optimizer=torch.optim.LBFGS).train(context)
