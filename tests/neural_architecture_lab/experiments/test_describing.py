from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from neural_architecture_lab.errors import HypothesisError
from neural_architecture_lab.experiments import available_hypotheses, evolve, ready_hypothesis
from neural_architecture_lab.experiments.describing import (
    CHANGING,
    check_decay,
    outcome_of_replica,
    plan_of_settings,
)
from neural_architecture_lab.experiments.evolving import (
    DEFAULTS,
    Evolving,
    outcome,
    settings_of,
    started,
    system_of,
)
from neural_architecture_lab.replicas.experiment import plan_of
from neural_architecture_lab.replicas.fused import train_fused
from neural_architecture_lab.runners import Job, ReplicaRunner
from neural_architecture_lab.trials import Trial
from structure_net.core import StandardSparseLayer
from structure_net.data.batches import TensorBatches
from structure_net.evolution import NetworkContext

SMALL: dict[str, Any] = {"hidden": [24, 16], "iterations": 2, "epochs": 1}


def trial(settings: dict[str, Any], seed: int = 0) -> Trial:
    return Trial("h", "a", seed, settings)


def in_float64(context: NetworkContext) -> NetworkContext:
    loaders = (context.data_loader, context.validation_loader)
    for loader in loaders:
        assert isinstance(loader, TensorBatches)
        loader.inputs = loader.inputs.double()
    return replace(context, network=context.network.double())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"density": 0.1},
        {"optimizer": "adamw", "weight_decay": 0.1, "density": 0.6, "allocation": "uniform"},
        {"optimizer": "sgd", "schedule": "cosine", "iterations": 1, "activation": "leaky_relu"},
    ],
    ids=str,
)
def test_a_plan_trains_what_the_experiment_trains(changes: dict[str, Any]) -> None:
    one = trial({**SMALL, **changes}, seed=3)
    settings = settings_of(one)
    evolved = system_of(settings).evolve_network(
        in_float64(started(one, settings, "cpu")), settings["iterations"]
    )
    plan = evolve.replica(one)
    assert plan is not None
    trained = train_fused(replace(plan, dtype="float64"))
    layers = list(evolved.network.get_submodule("layers").children())
    for layer, weight in zip(layers, trained.weights, strict=True):
        assert isinstance(layer, StandardSparseLayer)
        assert torch.allclose(layer.dense_weight(), weight, rtol=0, atol=1e-10)
    curve = evolved.history.series("validation_loss")
    assert curve == pytest.approx([score.loss for score in trained.validation], abs=1e-10)


def test_a_replica_tells_what_the_experiment_tells() -> None:
    one = trial({**SMALL, "density": 0.1})
    (result,) = ReplicaRunner().run([Job(one, evolve)])
    told, expected = result.outcome, evolve(one, device="cpu")
    assert told is not None
    exact = ("parameters", "connections", "layers", "flops", "edits")
    assert [told.metrics[name] for name in exact] == [expected.metrics[name] for name in exact]
    assert told.metrics.keys() == expected.metrics.keys()
    assert told.curves.keys() == expected.curves.keys()
    for name, curve in expected.curves.items():
        assert told.curves[name] == pytest.approx(curve, abs=0.02)
    assert callable(outcome)


def test_a_loss_that_is_not_finite_is_the_failure_that_it_is_alone() -> None:
    one = trial({**SMALL, "learning_rate": 1e30})
    (result,) = ReplicaRunner().run([Job(one, evolve)])
    assert result.status == "failed"
    assert "The loss is " in result.error
    assert callable(outcome_of_replica)


@pytest.mark.parametrize("name", CHANGING)
def test_what_changes_or_looks_has_no_plan(name: str) -> None:
    assert plan_of_settings({**DEFAULTS, name: ["something"]}, 0) is None


def test_a_schedule_that_begins_anew_has_no_plan_nor_has_mixed_precision() -> None:
    assert evolve.replica(trial({"schedule": "cosine"})) is None
    assert evolve.replica(trial({"schedule": "cosine", "iterations": 1})) is not None
    assert plan_of(evolve, trial({}), "cuda:0") is None
    assert plan_of(evolve, trial({}), "cpu") is not None
    assert isinstance(evolve, Evolving)


def test_a_decay_that_the_optimizer_does_not_keep_apart_is_refused_alike() -> None:
    with pytest.raises(HypothesisError, match="weight decay goes with optimizer='adamw'"):
        evolve.replica(trial({"weight_decay": 0.1}))
    with pytest.raises(HypothesisError, match="weight decay goes with optimizer='adamw'"):
        check_decay({"weight_decay": 0.1, "optimizer": "sgd"})


def test_six_hypotheses_of_the_library_are_described_in_whole() -> None:
    described = set()
    for name in available_hypotheses():
        hypothesis = ready_hypothesis(name)
        arms = [Trial("h", arm.name, 0, arm.settings) for arm in hypothesis.arms]
        if all(plan_of(hypothesis.experiment, one) is not None for one in arms):
            described.add(name)
    assert described == {
        "batch_size_scaling",
        "connection_allocation",
        "deep_against_wide",
        "pyramid_shapes",
        "sparsity_level",
        "weight_decay",
    }
