from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from structure_net.evolution import (
    Analyzer,
    EditingStrategy,
    GrowthStrategy,
    NetworkContext,
    Proposal,
    Trainer,
)
from structure_net.evolution.components import StandardNetworkTrainer
from structure_net.surgery import AddNeurons, edit
from structure_net.testing import (
    check_analyzer,
    check_component,
    check_strategy,
    check_trainer,
    example_context,
)


def touch(context: NetworkContext) -> None:
    with torch.no_grad():
        next(context.network.parameters()).add_(1.0)


class Touches(Analyzer):
    def analyze(self, context: NetworkContext) -> dict[str, Any]:
        touch(context)
        return {"x": 1}


class Draws(Analyzer):
    def analyze(self, context: NetworkContext) -> dict[str, Any]:
        return {"x": float(torch.rand(()))}


class Counts(Analyzer):
    seen = 0

    def analyze(self, context: NetworkContext) -> dict[str, Any]:
        Counts.seen += 1
        return {"x": torch.tensor(Counts.seen)}


class Hooks(Analyzer):
    def analyze(self, context: NetworkContext) -> dict[str, Any]:
        context.network.register_forward_hook(print)
        return {"x": 1}


class Empty(Analyzer):
    def analyze(self, context: NetworkContext) -> dict[str, Any]:
        return {}


class TouchingStrategy(EditingStrategy):
    def propose(self, context: NetworkContext, analysis: Mapping[str, Any]) -> Sequence[Proposal]:
        touch(context)
        return [Proposal(AddNeurons("layers.0", 1), "why not")]


class SilentStrategy(EditingStrategy):
    def propose(self, context: NetworkContext, analysis: Mapping[str, Any]) -> Sequence[Any]:
        return [AddNeurons("layers.0", 1)]


class NeverStrategy(EditingStrategy):
    def propose(self, context: NetworkContext, analysis: Mapping[str, Any]) -> Sequence[Any]:
        return []


class HeadStrategy(GrowthStrategy):
    """Cuts the output in half."""

    def should_grow(self, context: NetworkContext, analysis: Mapping[str, Any]) -> bool:
        return True

    def grow(self, context: NetworkContext, analysis: Mapping[str, Any]) -> NetworkContext:
        context.network.layers[-1] = torch.nn.Linear(16, 2)  # type: ignore[index, operator]
        return context


class Idle(Trainer):
    def train(self, context: NetworkContext) -> NetworkContext:
        return context


class Growing(StandardNetworkTrainer):
    def train(self, context: NetworkContext) -> NetworkContext:
        context = super().train(context)
        example = next(iter(context.data_loader))[0]
        edit(context.network, AddNeurons("layers.0", 1), example, optimizer=context.optimizer)
        return context


class Wasteful(StandardNetworkTrainer):
    def train(self, context: NetworkContext) -> NetworkContext:
        return super().train(replace(context, optimizer=None))


class Restless(StandardNetworkTrainer):
    def train(self, context: NetworkContext) -> NetworkContext:
        context = super().train(context)
        with torch.no_grad():
            next(context.network.parameters()).add_(torch.rand(()) * 0.1)
        return context


@pytest.mark.parametrize(
    ("analyzer", "promise"),
    [
        (Touches(), "analyze must change no parameter"),
        (Draws(), "torch's random state"),
        (Counts(), "two looks"),
        (Hooks(), "modes and hooks"),
        (Empty(), "at least one key"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_broken_analyzer_is_caught(analyzer: Analyzer, promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check_analyzer(analyzer)


@pytest.mark.parametrize(
    ("strategy", "promise"),
    [
        (TouchingStrategy(), "should_grow must change no parameter"),
        (SilentStrategy(), "say why"),
        (NeverStrategy(), "must grow in the context"),
        (HeadStrategy(), "shape of the outputs"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_broken_strategy_is_caught(strategy: GrowthStrategy, promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check_strategy(strategy, [])


@pytest.mark.parametrize(
    ("trainer", "promise"),
    [
        (Idle(), "must change the weights"),
        (Growing(1), "leave the architecture alone"),
        (Wasteful(1), "optimizer must live on"),
        (Restless(1), "the same start must give the same weights"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_broken_trainer_is_caught(trainer: Trainer, promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check_trainer(trainer)


def test_the_example_is_the_same_each_time_and_half_dead() -> None:
    first, second = example_context(1), example_context(1)
    inputs, _ = next(iter(first.data_loader))
    assert torch.equal(inputs, next(iter(second.data_loader))[0])
    active = first.network.layers[0](inputs).relu().amax(0)  # type: ignore[index, operator]
    assert (active == 0).sum() >= 8


def test_what_has_no_role_is_no_component() -> None:
    with pytest.raises(AssertionError, match="str has no role"):
        check_component("text")  # type: ignore[arg-type]
