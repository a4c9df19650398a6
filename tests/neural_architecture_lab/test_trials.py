from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from neural_architecture_lab.errors import DesignError, HypothesisError
from neural_architecture_lab.hypothesis import Arm, Hypothesis, Prediction, Stopping
from neural_architecture_lab.levels import Range
from neural_architecture_lab.trials import (
    Design,
    Trial,
    code_of,
    design,
    hash_of,
    planned_seeds,
    points_of,
    statement_of,
)


def experiment(trial: Trial, *, device: str) -> dict[str, float]:
    return {"accuracy": 0.5}


def hypothesis(**changes: Any) -> Hypothesis:
    said: dict[str, Any] = {
        "name": "h",
        "category": "training",
        "question": "?",
        "prediction": "!",
        "experiment": experiment,
        "arms": (Arm("a", {"rate": 1, "own": "a"}, control=True), Arm("b", {"own": "b"})),
        "predictions": (Prediction("accuracy", "higher"),),
        "seeds": 6,
    }
    return Hypothesis(**{**said, **changes})


def test_every_seed_sees_every_arm_at_every_point() -> None:
    laid = design(hypothesis(factors={"rate": [1, 2], "width": [8, 16]}))
    seen = {(t.seed, t.arm, t.settings["rate"], t.settings["width"]) for t in laid.trials}
    assert len(laid.trials) == len(seen) == 6 * 2 * 4
    assert len({trial.id for trial in laid.trials}) == len(laid.trials)


def test_seeds_are_blocks_and_within_them_the_order_is_drawn() -> None:
    laid = design(hypothesis(seeds=30))
    assert [trial.seed for trial in laid.trials] == sorted(t.seed for t in laid.trials)
    assert [trial.place for trial in laid.trials] == list(range(60))
    first = [trial.arm for trial in laid.trials if trial.place % 2 == 0]
    assert 5 < first.count("a") < 25
    assert laid.trials != design(hypothesis(seeds=30), order=1).trials
    assert laid.trials == design(hypothesis(seeds=30)).trials
    assert [trial.seed for trial in laid.of_seeds(2, 4)] == [2, 2, 3, 3]


def test_a_factor_overrides_the_setting_of_an_arm() -> None:
    laid = design(hypothesis(factors={"rate": [5, 6]}))
    assert {trial.settings["rate"] for trial in laid.trials} == {5, 6}
    assert {trial.factors["rate"] for trial in laid.trials} == {5, 6}


def test_a_factor_that_overrides_what_tells_arms_apart_is_refused() -> None:
    arms = (Arm("a", {"rate": 1}, control=True), Arm("b", {"rate": 2}))
    with pytest.raises(DesignError, match="differ in 'rate', which is a factor as well"):
        design(hypothesis(arms=arms, factors={"rate": [5, 6]}))


def test_a_latin_hypercube_has_one_point_in_each_row_and_column() -> None:
    made = hypothesis(
        factors={"x": Range(0, 1), "y": Range(0, 1)}, layout="latin-hypercube", points=8
    )
    points = points_of(made)
    for name in ("x", "y"):
        assert sorted(int(8 * float(str(point[name]))) for point in points) == list(range(8))
    assert points == points_of(made)


def test_random_points_come_from_ranges_and_levels() -> None:
    made = hypothesis(
        factors={"x": Range(1, 100, log=True, whole=True), "kind": ["u", "v"]},
        layout="random",
        points=40,
    )
    points = points_of(made)
    assert {point["kind"] for point in points} == {"u", "v"}
    assert all(isinstance(point["x"], int) for point in points)


def test_the_number_of_seeds_follows_from_the_power() -> None:
    """Power .8 at .05 for an effect of 1: 10; at half the level 13 (12.15 in statsmodels)."""
    planned, why = planned_seeds(hypothesis(seeds=None))
    assert planned == 10
    assert why == "finds an effect of 1 standard deviations with power 0.8 at level 0.05"
    two = (Prediction("accuracy", "higher"), Prediction("loss", "lower"))
    planned, why = planned_seeds(hypothesis(seeds=None, predictions=two))
    assert planned == 13
    assert "shared by 2 predictions" in why
    assert planned_seeds(hypothesis(seeds=3)) == (3, "as the hypothesis says")


def test_looks_are_planned_with_the_seeds() -> None:
    assert design(hypothesis()).looks == (6,)
    assert design(hypothesis(seeds=20, stopping=Stopping())).looks == (5, 10, 15, 20)
    assert design(hypothesis(seeds=8, stopping=Stopping((4, 6, 30)))).looks == (4, 6, 8)
    with pytest.raises(HypothesisError, match="ascending"):
        Stopping((6, 4))


def test_the_hash_changes_with_whatever_was_fixed() -> None:
    made = hypothesis()
    laid = design(made)
    assert isinstance(laid, Design)
    assert laid.hash == design(hypothesis()).hash == hash_of(laid.statement)
    others = [
        hypothesis(question="another?"),
        hypothesis(predictions=(Prediction("accuracy", "lower"),)),
        hypothesis(seeds=7),
        hypothesis(alpha=0.01),
        hypothesis(arms=(Arm("a", {"rate": 2}, control=True), Arm("b"))),
    ]
    assert len({laid.hash, *(design(other).hash for other in others)}) == 6
    assert statement_of(made, 6, (6,)) == laid.statement


def test_the_statement_names_the_code() -> None:
    code = code_of(experiment)
    assert code["experiment"].endswith("test_trials.experiment")
    assert len(code["source"]) == 64
    assert "torch" in code


class Kept:
    def __init__(self, rate: Any) -> None:
        self.rate, self.cache = rate, object()

    def __call__(self, trial: Trial, *, device: str) -> dict[str, float]:
        return {"accuracy": self.rate}


def told(rate: float) -> Trial:
    return Trial("h", "a", 0, {"rate": rate})


def test_what_an_experiment_is_made_with_is_part_of_its_code() -> None:
    assert "made_with" not in code_of(experiment)
    for make in (Kept, lambda rate: partial(experiment, rate=rate)):
        codes = [code_of(make(rate)) for rate in (0.1, 0.1, 0.2)]
        assert codes[0] == codes[1] != codes[2]
        assert {code["source"] for code in codes} == {codes[0]["source"]}
    for hold in (partial(partial, Kept), told, partial(np.full, 2)):
        held = [code_of(Kept(hold(rate)))["made_with"] for rate in (0.1, 0.1, 0.2)]
        assert held[0] == held[1] != held[2]
    assert code_of(partial(experiment, rate=1))["source"] == code_of(experiment)["source"]


def test_a_hypothesis_that_is_not_complete_is_refused() -> None:
    with pytest.raises(DesignError, match="has no experiment and no arms and no predictions"):
        design(Hypothesis("h", "training", "?", "!"))  # type: ignore[arg-type]
