from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from neural_architecture_lab import ReplicaExperiment, ReplicaPlan, Trial
from neural_architecture_lab.errors import HypothesisError
from neural_architecture_lab.experiments import evolve
from neural_architecture_lab.insights.measuring import EffectOf, SpreadOf
from neural_architecture_lab.recipes import folders_of, made_of, recipe_of
from neural_architecture_lab.trials import FreshSeeds, code_of

ROOT = Path(__file__).resolve().parents[2]


def train(trial: Trial, *, device: str, rate: float = 0.1) -> dict[str, float]:
    return {"rate": rate}


@dataclass(frozen=True)
class Own:
    depth: int
    told: Any = None

    def __call__(self, trial: Trial, *, device: str) -> dict[str, float]:
        return {"depth": self.depth}


class Unsaid:
    def __call__(self, trial: Trial, *, device: str) -> dict[str, float]:
        return {"x": 1.0}


@pytest.mark.parametrize(
    "experiment",
    [
        train,
        evolve,
        Own(3, {"widths": [1, 2]}),
        ReplicaExperiment(ReplicaPlan((64, 8, 10), density=0.5)),
        FreshSeeds(ReplicaExperiment(ReplicaPlan((64, 10))), 100_000),
        EffectOf(FreshSeeds(train, 7), {"a": 1}, {"a": 2}),
        SpreadOf(evolve, 3),
    ],
    ids=["function", "object", "dataclass", "plan", "fresh seeds", "effect", "spread"],
)
def test_an_experiment_is_made_again_from_plain_data(experiment: Any) -> None:
    recipe = json.loads(json.dumps(recipe_of(experiment)))
    assert made_of(recipe) == experiment
    assert code_of(made_of(recipe)) == code_of(experiment)


def test_a_partial_is_made_again_with_what_it_holds() -> None:
    again = made_of(json.loads(json.dumps(recipe_of(partial(train, rate=0.5)))))
    assert again(None, device="cpu") == {"rate": 0.5}


@pytest.mark.parametrize("value", [Unsaid(), Own(1, Unsaid()), Own(1, {3: 4}), lambda: None])
def test_what_nothing_describes_has_no_recipe(value: Any) -> None:
    assert recipe_of(value) is None


def test_only_what_is_there_is_made_and_only_dataclasses() -> None:
    with pytest.raises(HypothesisError, match="nowhere:train cannot be found"):
        made_of({"name": "nowhere:train"})
    with pytest.raises(HypothesisError, match="json:absent cannot be found"):
        made_of({"name": "json:absent"})
    with pytest.raises(HypothesisError, match="os:system is no dataclass"):
        made_of({"make": "os:system", "of": {"command": "true"}})


def test_the_folders_of_modules_are_those_that_python_looks_into() -> None:
    assert folders_of(recipe_of(SpreadOf(Own(1), 3))) == (str(ROOT),)
    assert folders_of([{"name": "json:dumps"}, None]) == ()
