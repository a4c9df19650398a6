from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from neural_architecture_lab.errors import HypothesisError, LabError
from neural_architecture_lab.hypothesis import (
    Arm,
    Experiment,
    Hypothesis,
    HypothesisCategory,
    Prediction,
    Stopping,
)
from neural_architecture_lab.levels import Range, plain

ARMS = (Arm("fixed", {"grow": False}, control=True), Arm("grown", {"grow": True}))


def experiment(trial: Any, *, device: str) -> Mapping[str, float]:
    return {"accuracy": float(trial.seed)}


def hypothesis(**changes: Any) -> Hypothesis:
    said: dict[str, Any] = {
        "name": "Growth helps!",
        "category": HypothesisCategory.GROWTH_DYNAMICS,
        "question": "Does growth help?",
        "prediction": "Grown networks are better.",
        "experiment": experiment,
        "arms": ARMS,
        "predictions": (Prediction("accuracy", "higher"),),
    }
    return Hypothesis(**{**said, **changes})


def test_four_words_make_a_hypothesis() -> None:
    made = Hypothesis("a b", HypothesisCategory.SPARSITY, "Why?", "Because.")
    assert made.id == "a_b"
    assert (made.experiment, made.arms, made.predictions) == (None, (), ())
    with pytest.raises(HypothesisError, match="'a b' has no arms yet"):
        _ = made.control


def test_the_id_is_the_name_in_letters_and_digits() -> None:
    assert hypothesis().id == "growth_helps"
    assert issubclass(HypothesisError, LabError)
    runs: Experiment = experiment
    assert hypothesis().experiment is runs


def test_a_category_may_be_given_by_its_value() -> None:
    assert hypothesis(category="topology").category is HypothesisCategory.TOPOLOGY
    with pytest.raises(HypothesisError, match=r"one of ARCHITECTURE, TRAINING.*; got 'magic'"):
        hypothesis(category="magic")


def test_a_prediction_compares_the_other_arm_with_the_control() -> None:
    made = hypothesis()
    assert made.sides(made.predictions[0]) == ("grown", "fixed")
    assert made.control is ARMS[0]
    named = Prediction("accuracy", "lower", arm="fixed", versus="grown")
    assert made.sides(named) == ("fixed", "grown")


def test_a_prediction_says_itself_in_words() -> None:
    assert str(Prediction("accuracy", "higher", 0.01)) == (
        "accuracy of the treated arm is higher than that of the control by 0.01 or more"
    )
    assert str(Prediction("loss", "same", 0.1, arm="a", versus="b")) == (
        "loss of a is within 0.1 of that of b"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": " "}, "name must be a text with a letter"),
        ({"arms": ARMS[:1]}, "two arms or more"),
        ({"arms": (ARMS[0], Arm("fixed"))}, "of different names"),
        ({"arms": (Arm("a"), Arm("b"))}, "One arm must be the control"),
        ({"arms": (*ARMS, Arm("third"))}, "must name its arm, since there are several"),
        ({"predictions": [Prediction("x", "higher", arm="no")]}, "names the arm 'no'; there are"),
        ({"predictions": [Prediction("x", "higher", arm="fixed")]}, "with itself"),
        ({"alpha": 5}, "alpha must lie between 0 and 0.5; got 5"),
        ({"power": 0.0}, "power must lie between 0 and 1"),
        ({"seeds": 1}, "seeds must be a whole number from 2 on"),
        ({"seeds": 2.5}, "seeds must be a whole number from 2 on.* got 2.5"),
        ({"assumed_effect": float("nan")}, "assumed_effect must be a number other than 0"),
        ({"stopping": True}, r"stopping must be a Stopping\(...\); got True"),
        ({"arms": Arm("a")}, r"arms must be a list of Arm\(...\), even of one"),
        ({"predictions": ["accuracy"]}, r"predictions must be a list of Prediction\(...\)"),
        ({"factors": [1]}, r"factors must be levels by name; got \[1\]"),
        ({"assumed_effect": 0}, "which no number of seeds finds; got 0"),
        ({"factors": {"width": [1]}}, "'width' needs two levels or more"),
        ({"factors": {"width": [1, 1]}}, "must differ"),
        ({"factors": {"width": Range(1, 2)}}, "which a grid cannot list"),
        ({"layout": "random", "factors": {"w": Range(1, 2)}}, "needs points="),
        ({"layout": "maze"}, "layout must be"),
        ({"experiment": 3}, "experiment must be a function"),
        ({"experiment": lambda trial, *, device: {}}, "put it at the top of a module"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(HypothesisError, match=message):
        hypothesis(**changes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Prediction("x", "bigger"), "'higher', 'lower' or 'same'"),  # type: ignore[arg-type]
        (lambda: Prediction("x", "same"), "needs a smallest_effect above 0"),
        (lambda: Prediction("x", "higher", -1.0), "must be 0 or more"),
        (lambda: Prediction("", "higher"), "metric must be a text"),
        (lambda: Prediction("x", "higher", "big"), "must be a number"),  # type: ignore[arg-type]
        (lambda: Range(2, 1), "must go up"),
        (lambda: Range(0, 1, log=True), "above 0 where it is logarithmic"),
        (lambda: Arm("a", {"model": object()}), "must be plain data"),
        (lambda: Arm("a", [1]), "must be a mapping"),  # type: ignore[arg-type]
    ],
)
def test_parts_are_checked_where_they_are_made(make: Any, message: str) -> None:
    with pytest.raises(HypothesisError, match=message):
        make()


def test_a_range_is_even_in_its_value_or_its_logarithm() -> None:
    assert Range(0, 10).at(0.25) == 2.5
    assert Range(1, 100, log=True).at(0.5) == pytest.approx(10)
    assert Range(8, 64, whole=True).at(1.0) == 64


def test_what_is_open_is_taken_from_the_defaults() -> None:
    defaults = hypothesis(seeds=7, stopping=Stopping(), factors={"rate": [1, 2]})
    asked = Hypothesis("mine", "sparsity", "Why?", "So.", predictions=[Prediction("x", "lower")])
    made = asked.with_defaults(defaults)
    assert (made.name, made.arms, made.seeds) == ("mine", ARMS, 7)
    assert made.predictions == (Prediction("x", "lower"),)
    assert made.factors == {"rate": (1, 2)}


def test_a_hypothesis_can_be_copied_and_sent() -> None:
    made = hypothesis(factors={"rate": [0.1, 0.2]}, stopping=Stopping((5, 10), "pocock"))
    assert copy.deepcopy(made) == made
    assert pickle.loads(pickle.dumps(made)) == made


def test_settings_are_copied_as_plain_data() -> None:
    given = {"widths": (1, 2), "deep": {"a": None}}
    kept = plain(given, "settings")
    assert kept == {"widths": [1, 2], "deep": {"a": None}}
    assert kept is not given
    numbers = plain({"widths": [np.int64(8)], "rate": np.float32(0.5)}, "settings")
    assert numbers == {"widths": [8], "rate": 0.5}
    assert (type(numbers["widths"][0]), type(numbers["rate"])) == (int, float)  # type: ignore[index]
