from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from neural_architecture_lab.replicas import ReplicaPlan, Trained
from neural_architecture_lab.replicas.alone import train_alone
from neural_architecture_lab.replicas.grouping import STACK, grouped, kind_of, takes
from neural_architecture_lab.replicas.stacked import losses_of, train_stacked
from neural_architecture_lab.replicas.starting import drawn
from tests.elsewhere import away
from tests.neural_architecture_lab.replicas.test_engines import apart

PLAN = ReplicaPlan(
    (64, 24, 17, 10),
    epochs=2,
    learning_rate=0.01,
    batch_size=100,
    activation="tanh",
    dtype="float64",
)
OTHERS: list[dict[str, Any]] = [
    {},
    {"seed": 1, "learning_rate": 0.003},
    {"seed": 2, "density": 0.1, "schedule": "cosine"},
    {"seed": 3, "sizes": (64, 20, 12, 10), "weight_decay": 0.05},
]
DESCENT: dict[str, Any] = {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.05}


def stacked(plans: list[ReplicaPlan]) -> list[Trained]:
    return train_stacked([(plan, drawn(plan)) for plan in plans])


@pytest.mark.parametrize(
    "common",
    [{}, {"activation": "gelu", "optimizer": "adamw"}, DESCENT, {**DESCENT, "nesterov": True}],
    ids=str,
)
def test_in_float64_each_of_a_stack_is_what_it_is_alone(common: dict[str, Any]) -> None:
    plans = [replace(replace(PLAN, **common), **changes) for changes in OTHERS]
    assert len({kind_of(plan) for plan in plans}) == 1
    for plan, one in zip(plans, stacked(plans), strict=True):
        assert one.plan == plan
        assert apart(one, train_alone(plan)) < 1e-10


@pytest.mark.away
def test_replicas_on_another_device_are_those_of_the_cpu() -> None:
    plans = [replace(PLAN, **changes) for changes in OTHERS]
    there = train_stacked([(plan, drawn(plan)) for plan in plans], device=away())
    for plan, one in zip(plans, there, strict=True):
        alone = train_alone(plan)
        assert apart(one, alone) < 1e-10
        assert apart(train_alone(plan, away()), alone) < 1e-10


def test_one_that_diverges_leaves_the_others_as_they_are() -> None:
    wild = replace(PLAN, **DESCENT | {"activation": "identity", "learning_rate": 1e300})
    tame = replace(wild, learning_rate=0.05)
    first, second = stacked([wild, tame])
    assert torch.isnan(first.weights[0]).any()
    assert apart(second, train_alone(tame)) < 1e-10


def test_what_the_compiled_step_knows_is_not_stacked() -> None:
    assert takes(replace(PLAN, activation="relu"), "cpu")
    assert not takes(PLAN, "cpu")
    assert not takes(replace(PLAN, activation="relu"), "cuda")
    planned = [(k, replace(PLAN, seed=k), "cpu") for k in range(STACK + 3)]
    planned.insert(1, (-1, replace(PLAN, activation="relu"), "cpu"))
    planned.insert(2, (-2, replace(PLAN, sizes=(64, 60, 17, 10)), "cpu"))
    groups = list(grouped(iter(planned)))
    assert [len(group.members) for group in groups] == [1, STACK, 1, 3]
    assert [group.fused for group in groups] == [True, False, False, False]


def test_losses_are_means_over_each_replicas_samples() -> None:
    outputs = torch.tensor([[[0.0, 0.0]], [[3.0, 1.0]]])
    numbers = torch.tensor([[[1.0, 1.0]], [[1.0, 1.0]]])
    assert losses_of(outputs, numbers).tolist() == [1.0, 2.0]
    assert losses_of(outputs[:1], torch.tensor([[0]])).item() == pytest.approx(0.6931472)
