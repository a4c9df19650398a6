from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from neural_architecture_lab import LabConfig, Range, ReplicaExperiment, ReplicaPlan
from neural_architecture_lab.errors import HypothesisError, RunnerError
from neural_architecture_lab.searching import Rungs, Search, run_search
from neural_architecture_lab.searching.probing import MOST, check_space, probes_of
from tests.neural_architecture_lab.searching.searches import bowl

TRAIN = ReplicaExperiment(ReplicaPlan((64, 10)))


def search(space: Any, **changes: Any) -> Search:
    said: dict[str, Any] = {"experiment": TRAIN, "objectives": {"loss": "lower"}}
    return Search(**{"name": "Rates", "space": space, **said, **changes})


def suggest(trial: Any) -> dict[str, Any]:
    return {"density": trial.suggest_float("density", 2.0, 3.0)}


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"densty": (0.1, 0.5)}, "'densty', which a plan does not know. Did you mean 'density'"),
        (
            {"density": (0.1, 5.0), "optimizer": ("adam", "sgd")},
            r"at density=5.0 cannot be run: density must be in \(0, 1\]; got 5.0",
        ),
        ({"learning_rate": Range(-1, 1)}, "learning_rate must be a finite number from 0 on; got"),
        ({"dataset": ("digits", "digit")}, "Did you mean 'digits'"),
    ],
    ids=["misspelt", "level", "end of a range", "data"],
)
def test_a_level_that_cannot_be_run_is_refused(space: Any, words: str) -> None:
    made = search(space)
    with pytest.raises(HypothesisError, match=words):
        check_space(made, probes_of(made))


def test_levels_that_only_some_others_go_with_are_left_to_the_search() -> None:
    made = search({"nesterov": (False, True), "momentum": (0.0, 0.9)})
    assert len(probes_of(made)) == 4
    check_space(made, probes_of(made))


def test_a_large_space_is_looked_at_by_some_with_every_level_in_them() -> None:
    levels = tuple(range(1, 101))
    made = search({"epochs": levels, "batch_size": (8, 16), "learning_rate": Range(0.1, 1)})
    probes = probes_of(made)
    assert MOST < len(probes) <= 100
    assert {one.factors["epochs"] for one in probes} == set(levels)
    assert {one.factors["batch_size"] for one in probes} == {8, 16}
    made = search({"density": (0.1, 0.5)}, rungs=Rungs("epochs", (0, 2)), pruner=object())
    with pytest.raises(HypothesisError, match="epochs must be a whole number from 1 on; got 0"):
        check_space(made, probes_of(made))


@pytest.mark.extras
def test_nothing_is_begun_of_a_search_that_cannot_be(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    folder = tmp_path / "results"
    with pytest.raises(RunnerError, match="cannot run as a replica"):
        run_search(
            search({"x": Range(0, 1)}, experiment=bowl),
            LabConfig(results_dir=folder, runner="replicas"),
        )
    with pytest.raises(HypothesisError, match="density must be in"):
        run_search(search(suggest), LabConfig(results_dir=folder))
    assert not folder.exists()
