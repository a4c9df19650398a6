from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from neural_architecture_lab import Prediction, Trial
from neural_architecture_lab.errors import HypothesisError
from neural_architecture_lab.experiments import available_hypotheses, on_dataset, ready_hypothesis
from neural_architecture_lab.experiments.evolving import evolve, settings_of, started
from neural_architecture_lab.experiments.widths import TOLERANCE
from structure_net.core import network_stats
from structure_net.errors import DatasetError
from tests.neural_architecture_lab.report.reported import hypothesis


@pytest.mark.parametrize("name", available_hypotheses())
def test_every_hypothesis_of_the_library_goes_to_other_data(name: str) -> None:
    moved = on_dataset(ready_hypothesis(name), "parity")
    assert {arm.settings["dataset"] for arm in moved.arms} == {"parity"}
    assert moved.predictions == ready_hypothesis(name).predictions


@pytest.mark.parametrize("name", ["deep_against_wide", "pyramid_shapes", "skip_connections"])
def test_arms_are_equal_on_other_data_too(name: str) -> None:
    sizes = []
    for arm in on_dataset(ready_hypothesis(name), "parity").arms:
        trial = Trial("h", arm.name, 0, arm.settings)
        network = started(trial, settings_of(trial), "cpu").network
        sizes.append(network_stats(network)["total_parameters"])
    assert max(sizes) <= (1 + 2 * TOLERANCE) * min(sizes)  # each within a hundredth of one


def test_a_trial_runs_on_the_data_that_is_named() -> None:
    arm = on_dataset(ready_hypothesis("deep_against_wide"), "parity").arms[1]
    told = {**arm.settings, "iterations": 1, "epochs": 1}
    found = evolve(Trial("h", "deep", 0, told), device="cpu")
    assert 0 < found.metrics["accuracy"] <= 1


def test_what_does_not_fit_is_refused_before_anything_runs() -> None:
    with pytest.raises(HypothesisError, match="is none of the library's"):
        on_dataset(hypothesis(), "parity")
    with pytest.raises(DatasetError):
        on_dataset(ready_hypothesis("weight_decay"), "no such set")
    deep = ready_hypothesis("deep_against_wide")
    tiny = {"shape": [1] * 8, "as_large_as": [1]}
    arms = (deep.arms[0], replace(deep.arms[1], settings={"hidden": tiny}))
    with pytest.raises(HypothesisError, match="must agree within 1%"):
        on_dataset(replace(deep, arms=arms), "parity")


def test_an_accuracy_is_not_predicted_where_there_is_none(data_dir: Path) -> None:
    decay = ready_hypothesis("weight_decay")
    moved = on_dataset(decay, "california_housing", str(data_dir))
    assert moved.arms[0].settings["data_dir"] == str(data_dir)
    told = (Prediction("accuracy", "higher", 0.01, arm="weak"),)
    with pytest.raises(HypothesisError, match="predicts an accuracy, and 'california_housing' is"):
        on_dataset(replace(decay, predictions=told), "california_housing", str(data_dir))
