from __future__ import annotations

import pytest

from neural_architecture_lab import Hypothesis, HypothesisCategory, Trial
from neural_architecture_lab.errors import HypothesisError
from neural_architecture_lab.experiments import (
    available_hypotheses,
    completed,
    default_of,
    ready_hypothesis,
)
from neural_architecture_lab.trials import design


@pytest.mark.parametrize("name", available_hypotheses())
def test_a_hypothesis_of_the_library_is_complete(name: str) -> None:
    made = ready_hypothesis(name)
    laid = design(made)
    assert laid.seeds >= 5
    assert all(isinstance(trial, Trial) for trial in laid.trials)
    assert made.question.endswith("?")
    assert all(prediction.smallest_effect > 0 for prediction in made.predictions)


def test_a_category_supplies_what_is_left_open() -> None:
    asked = Hypothesis("mine", HypothesisCategory.GROWTH_DYNAMICS, "Does it?", "It does.")
    made, default = completed(asked), default_of(HypothesisCategory.GROWTH_DYNAMICS)
    assert (made.name, made.question) == ("mine", "Does it?")
    assert (made.arms, made.experiment) == (default.arms, default.experiment)


def test_a_name_that_there_is_not_names_the_nearest() -> None:
    with pytest.raises(HypothesisError, match=r"Did you mean 'extrema_growth'\?"):
        ready_hypothesis("extrema_grwth")
