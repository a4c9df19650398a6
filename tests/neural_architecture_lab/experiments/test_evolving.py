from __future__ import annotations

from typing import Any

import pytest
import torch

from neural_architecture_lab.errors import HypothesisError
from neural_architecture_lab.experiments import described, evolve, growing
from neural_architecture_lab.experiments.evolving import settings_of, started
from neural_architecture_lab.trials import Trial
from structure_net.evolution import EveryNEpochs
from structure_net.evolution.components import ExtremaGrowthStrategy, StandardExtremaAnalyzer

SMALL = {"hidden": [32, 16], "density": 0.06, "iterations": 3, "epochs": 1}
GROWN: dict[str, Any] = {
    **SMALL,
    "analyzers": described(StandardExtremaAnalyzer()),
    "strategies": [growing(ExtremaGrowthStrategy(patch_size=4), EveryNEpochs(1))],
}


def trial(settings: dict[str, Any], seed: int = 0, arm: str = "a") -> Trial:
    return Trial("h", arm, seed, settings)


def test_a_trial_gives_the_same_numbers_again() -> None:
    first, second = (evolve(trial(GROWN, 3), device="cpu") for _ in range(2))
    timed = {"seconds"}
    assert {k: v for k, v in first.metrics.items() if k not in timed} == {
        k: v for k, v in second.metrics.items() if k not in timed
    }
    assert first.curves == second.curves
    assert first.metrics["accuracy"] != evolve(trial(GROWN, 4), device="cpu").metrics["accuracy"]


def test_arms_of_one_architecture_share_weights_and_batches() -> None:
    control, treated = (
        started(one, settings_of(one), "cpu") for one in (trial(SMALL), trial(GROWN, arm="b"))
    )
    for a, b in zip(control.network.parameters(), treated.network.parameters(), strict=True):
        assert torch.equal(a, b)
    for one, other in zip(control.data_loader, treated.data_loader, strict=True):
        assert torch.equal(one[0], other[0])


def test_growth_stands_among_the_events_and_in_the_curves() -> None:
    fixed, grown = evolve(trial(SMALL), device="cpu"), evolve(trial(GROWN), device="cpu")
    assert fixed.metrics["edits"] == 0
    assert not fixed.events
    assert grown.metrics["edits"] > 0
    assert {what for _, what in grown.events} == {"ExtremaGrowthStrategy"}
    assert grown.curves["connections"][-1] == grown.metrics["connections"]
    assert grown.metrics["connections"] > fixed.metrics["connections"]
    assert len(fixed.curves["validation_accuracy"]) == 3
    assert 0 < fixed.metrics["accuracy"] < 1
    assert fixed.metrics["flops"] == 2 * fixed.metrics["connections"]


def test_a_setting_that_there_is_not_is_refused() -> None:
    with pytest.raises(HypothesisError, match="has the setting 'widht', which this experiment"):
        evolve(trial({"widht": 3}), device="cpu")
