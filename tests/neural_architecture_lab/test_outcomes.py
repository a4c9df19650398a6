from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from neural_architecture_lab.errors import OutcomeError
from neural_architecture_lab.outcomes import Outcome, mean_of, outcome_of


def test_a_mapping_is_an_outcome() -> None:
    made = outcome_of({"a": 1, "b": torch.tensor(0.5), "c": np.float32(2), "d": True})
    assert made == Outcome({"a": 1.0, "b": 0.5, "c": 2.0, "d": 1.0})
    assert all(type(value) is float for value in made.metrics.values())


def test_a_trial_that_diverged_has_an_outcome() -> None:
    assert math.isnan(outcome_of({"loss": float("nan")}).metrics["loss"])


def test_curves_and_events_come_along_as_plain_data() -> None:
    given = Outcome({"a": 1.0}, {"loss": [torch.tensor(1.0), 0.5]}, [(3, "grew")], {"x": [1]})
    made = outcome_of(given)
    assert made.curves == {"loss": (1.0, 0.5)}
    assert made.events == ((3.0, "grew"),)
    assert made.notes == {"x": [1]}


def test_means_of_what_overflows_are_numbers_too() -> None:
    assert mean_of([1.0, 2.0, 4.5]) == 2.5
    assert mean_of([1.5e308, 1.5e308]) == 1.5e308
    assert mean_of([math.inf, 1.0]) == math.inf
    assert math.isnan(mean_of([math.inf, -math.inf]))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "must return its metrics"),
        (0.9, "must return its metrics"),
        ({}, "must return its metrics"),
        ({"a": "0.9"}, "the metrics 'a' must be a number; got '0.9'"),
        ({"a": [1, 2]}, "must be a number"),
        (Outcome({"a": 1.0}, {"loss": ["x"]}), "the curve 'loss' must be a number"),  # type: ignore[list-item]
    ],
)
def test_what_is_no_outcome_is_refused(returned: object, message: str) -> None:
    with pytest.raises(OutcomeError, match=message):
        outcome_of(returned)
