from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch

from neural_architecture_lab.replicas import ReplicaPlan, Trained, fused, kernels
from neural_architecture_lab.replicas.alone import train_alone
from neural_architecture_lab.replicas.fused import train_fused
from neural_architecture_lab.replicas.starting import drawn, scattered
from structure_net import create_standard_network
from structure_net.core.sparsity import SparsePattern

PLAN = ReplicaPlan(
    (64, 48, 33, 10), epochs=3, learning_rate=0.01, batch_size=100, seed=3, dtype="float64"
)
SPARSE: dict[str, Any] = {"density": 0.05}
DESCENT: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9}
VARIANTS: list[dict[str, Any]] = [
    {},
    SPARSE,
    {"density": 0.7},
    {**SPARSE, **DESCENT},
    {**DESCENT, "nesterov": True, "weight_decay": 0.01, "schedule": "cosine"},
    {"optimizer": "adamw", "density": (0.2, 1.0, 0.9), "activation": "leaky_relu"},
    {"weight_decay": 0.01, "activation": "identity", "betas": (0.8, 0.99), "epsilon": 1e-6},
    {"density": 0.3, "pattern_seed": 5, "order_seed": 6, "allocation": "uniform"},
    {**SPARSE, "batch_size": 2**50, "betas": (0, 0)},
    {"patterns": [SparsePattern.from_pairs([], (n, m)) for m, n in pairwise(PLAN.sizes)]},
]


def apart(one: Trained, other: Trained) -> float:
    """The largest difference between any two numbers of two trainings."""
    tensors = zip((*one.weights, *one.biases), (*other.weights, *other.biases), strict=True)
    numbers = zip(told(one), told(other), strict=True)
    return max(*(float((a - b).abs().max()) for a, b in tensors), *(abs(a - b) for a, b in numbers))


def told(one: Trained) -> list[float]:
    scores = [number for score in (*one.validation, one.test) for number in vars_of(score)]
    return [*one.train_loss, *scores]


def vars_of(score: Any) -> tuple[float, float]:
    return score.loss, score.accuracy


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_in_float64_the_compiled_run_is_the_plain_one(changes: dict[str, Any]) -> None:
    plan = replace(PLAN, **changes)
    # A run's rounding errors grow with its steps; 1e-10 leaves a factor of a thousand.
    assert apart(train_fused(plan), train_alone(plan)) < 1e-10


@pytest.mark.parametrize("changes", [{"density": (1.0, 0.05, 0.7)}, DESCENT], ids=str)
def test_however_a_training_is_cut_into_calls_its_bits_are_the_same(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = replace(PLAN, dtype="float32", schedule="cosine", **changes)
    calls: list[None] = []
    whole = train_fused(plan)
    monkeypatch.setattr(fused, "_PER_CALL", 1.0)
    steps = train_fused(plan, lambda: calls.append(None))
    assert len(calls) == 3 * 13  # each step is a call
    assert apart(whole, steps) == 0
    monkeypatch.undo()
    monkeypatch.setattr(fused, "_KNOWN", 1300 * 2)
    assert apart(whole, train_fused(plan)) == 0


def test_rates_that_are_made_beforehand_take_eight_mebibytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[int] = []
    train = kernels.train

    def spy(*given: Any) -> None:
        taken.append(given[5].nbytes)
        train(*given)

    monkeypatch.setattr(kernels, "train", spy)
    train_fused(replace(PLAN, sizes=(64, 10), batch_size=1, epochs=120, dtype="float32"))
    assert 2**22 < max(taken) <= 2**23


@pytest.mark.parametrize("density", [1.0, 0.05])
def test_in_float32_both_runs_come_to_the_same_scores(density: float) -> None:
    plan = replace(PLAN, dtype="float32", density=density)
    fused, alone = train_fused(plan).test, train_alone(plan).test
    assert fused.accuracy == pytest.approx(alone.accuracy, abs=0.02)
    assert fused.loss == pytest.approx(alone.loss, rel=0.02)


@pytest.mark.parametrize("changes", VARIANTS[:3], ids=str)
def test_replicas_are_born_as_networks_are(changes: dict[str, Any]) -> None:
    start = drawn(replace(PLAN, **changes))
    network = create_standard_network(PLAN.sizes, changes.get("density"), seed=PLAN.seed)
    for place, layer in enumerate(network.layers):
        assert torch.equal(start.dense(place, torch.float32), layer.dense_weight())  # type: ignore[operator]
    assert start.connections == network.get_network_stats()["total_connections"]


def test_a_pattern_that_is_given_is_kept() -> None:
    pattern = SparsePattern.from_pairs([(0, 1), (0, 3), (2, 5), (9, 4)], (10, 33))
    trained = train_fused(replace(PLAN, patterns=(None, None, pattern)))
    assert torch.equal(trained.weights[2] != 0, pattern.mask())
    assert trained.connections == 64 * 48 + 48 * 33 + 4
    values = torch.arange(1.0, 5.0)
    assert scattered(pattern, values)[2, 5] == 3


def test_a_loss_that_is_not_a_number_is_a_number_of_the_outcome() -> None:
    plan = replace(PLAN, **DESCENT | {"learning_rate": 1e300})
    trained = [train(plan) for train in (train_fused, train_alone)]
    for one in trained:
        assert math.isnan(one.test.loss)
        assert "loss" in one.outcome().metrics
    assert trained[0].test.accuracy == trained[1].test.accuracy


def test_an_outcome_tells_what_other_experiments_tell() -> None:
    outcome = train_fused(replace(PLAN, **SPARSE)).outcome()
    assert {"accuracy", "loss", "connections", "parameters", "seconds"} == set(outcome.metrics)
    assert outcome.metrics["parameters"] == outcome.metrics["connections"] + 48 + 33 + 10
    assert {name: len(curve) for name, curve in outcome.curves.items()} == {
        "train_loss": 3,
        "validation_loss": 3,
        "validation_accuracy": 3,
    }
