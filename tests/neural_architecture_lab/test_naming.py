from __future__ import annotations

from typing import Any

import pytest

from neural_architecture_lab.errors import HypothesisError
from neural_architecture_lab.insights.measuring import EffectOf
from neural_architecture_lab.naming import check_experiment
from neural_architecture_lab.trials import FreshSeeds


def without_device(trial: Any) -> dict[str, float]:
    return {"m": 0.0}


def whole(trial: Any, *, device: str) -> dict[str, float]:
    return {"m": 0.0}


def test_an_experiment_that_takes_no_device_is_refused_before_any_trial() -> None:
    with pytest.raises(HypothesisError, match="'without_device' cannot be called with a trial and"):
        check_experiment(without_device)


@pytest.mark.parametrize("experiment", [None, whole, FreshSeeds(whole, 1), EffectOf(whole, {}, {})])
def test_what_can_be_called_is_taken(experiment: Any) -> None:
    check_experiment(experiment)
