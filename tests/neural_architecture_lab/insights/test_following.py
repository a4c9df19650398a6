"""Every kind of finding that arms can show becomes a hypothesis that registers, runs and judges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from neural_architecture_lab import Arm, Hypothesis, Prediction, Range, Trial, Verdict
from neural_architecture_lab.insights import Insight
from neural_architecture_lab.insights.arms import RUNS, equivalence
from neural_architecture_lab.insights.drawn import are_drawn, drawn, drawn_effects
from neural_architecture_lab.insights.factors import shares
from neural_architecture_lab.insights.measuring import EffectOf, SpreadOf, fresh
from neural_architecture_lab.insights.reading import averaged, balanced, read_tried
from neural_architecture_lab.reviewing import review
from neural_architecture_lab.statistics import DrawnEffect
from neural_architecture_lab.trials import APART, FreshSeeds, code_of
from tests.neural_architecture_lab.insights.learning import claim, experiment, ran

HIGHER = (Prediction("accuracy", "higher", arm="b"),)


def pair(control: dict[str, float], other: dict[str, float]) -> tuple[Arm, Arm]:
    return (Arm("a", control, control=True), Arm("b", other))


def of_kind(found: tuple[Insight, ...], kind: str, word: str = "") -> Insight:
    return next(one for one in found if one.kind == kind and word in one.sentence)


CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "surprise": ({"arms": pair({"bonus": 1.0}, {"bonus": 0.0})}, "surprise", ""),
    "dominance": ({"arms": pair({"size": 20.0}, {"bonus": 1.0})}, "dominance", ""),
    "equivalence": (
        {
            "arms": pair({"bonus": 0.0}, {"bonus": 0.01}),
            "predictions": (Prediction("accuracy", "higher", 0.5),),
        },
        "equivalence",
        "",
    ),
    "instability": (
        {"arms": pair({"spread": 1.0}, {"spread": 200.0}), "seeds": 24},
        "instability",
        "",
    ),
    "factor": (
        {"arms": pair({"slope": 1.0}, {"slope": 1.0, "size": 1}), "factors": {"width": [1, 2]}},
        "factor",
        "width",
    ),
    "arm": (
        {"arms": pair({"bonus": 0.0}, {"bonus": 1.0}), "factors": {"width": [1, 2]}},
        "factor",
        "arm",
    ),
    "trend": (
        {"arms": pair({"slope": 1.0}, {"slope": 1.0, "size": 1}), "factors": {"width": [1, 2, 3]}},
        "trend",
        "",
    ),
    "bend": (
        {
            "arms": pair({"slope": 1.0, "bend": 3}, {"slope": 1.0, "bend": 3, "size": 1}),
            "factors": {"width": [1, 2, 3, 4, 5]},
        },
        "bend",
        "",
    ),
    "arm and factor": (
        {"arms": pair({"slope": 0.0}, {"slope": 1.0}), "factors": {"width": [1, 2]}},
        "interaction",
        "",
    ),
    "two factors": (
        {
            "arms": pair({"cross": 1.0}, {"cross": 1.0, "size": 1}),
            "factors": {"width": [1, 2], "depth": [1, 2]},
        },
        "interaction",
        "width and depth",
    ),
    "drawn factor": (
        {
            "arms": pair({"slope": 1.0}, {"slope": 1.0, "size": 1}),
            "factors": {"width": Range(1, 5), "depth": Range(1, 5)},
            "layout": "latin-hypercube",
            "points": 12,
            "seeds": 3,
        },
        "factor",
        "width",
    ),
    "drawn interaction": (
        {
            "arms": pair({"slope": 0.0}, {"slope": 1.0}),
            "factors": {"width": Range(1, 5), "depth": Range(1, 5)},
            "layout": "random",
            "points": 12,
            "seeds": 3,
        },
        "interaction",
        "width",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_follow_up_registers_and_confirms_what_is_there(case: str, tmp_path: Path) -> None:
    changes, kind, word = CASES[case]
    lab = ran(tmp_path, claim(**{"predictions": HIGHER, **changes}))
    found = of_kind(lab.extract_insights(), kind, word)
    again = found.follow_up
    assert isinstance(again, Hypothesis)
    result = lab.run_hypothesis_test(lab.register_hypothesis(again))
    assert result.review.failed == 0
    assert result.verdict is Verdict.SUPPORTED, result.review.reason
    assert result.design.statement["code"]["first_seed"] == str(APART)


def test_a_surprise_is_tried_again_on_twice_the_seeds_or_more(tmp_path: Path) -> None:
    changes, kind, _ = CASES["surprise"]
    found = of_kind(ran(tmp_path, claim(**changes)).extract_insights(), kind)
    assert found.follow_up is not None
    assert found.follow_up.seeds == 20


def test_around_a_bend_the_flat_side_is_predicted_to_stay(tmp_path: Path) -> None:
    changes, kind, _ = CASES["bend"]
    found = of_kind(ran(tmp_path, claim(**changes)).extract_insights(), kind)
    assert found.follow_up is not None
    assert [arm.name for arm in found.follow_up.arms] == ["width 3", "width 2", "width 4"]
    said = {one.arm: one.direction for one in found.follow_up.predictions}
    assert said == {"width 2": "lower", "width 4": "same"}


def test_the_effect_of_a_change_is_the_second_run_minus_the_first() -> None:
    whole = EffectOf(experiment, {"bonus": 1.0}, {"bonus": 3.0})
    trial = Trial("h", "a", 4, {"width": 2})
    first, second = (
        experiment(replace(trial, settings={"bonus": bonus, "width": 2}), device="cpu")
        for bonus in (1.0, 3.0)
    )
    got = whole(trial, device="cpu").metrics
    # The same float64 subtraction.
    assert got["effect on accuracy"] == second["accuracy"] - first["accuracy"]
    assert whole.__wrapped__ is experiment
    assert code_of(whole)["measured"] == "effect of going from {'bonus': 1.0} to {'bonus': 3.0}"
    assert code_of(SpreadOf(experiment, 3))["measured"] == "spread of 3 runs"


def test_a_spread_is_that_of_runs_which_no_other_trial_has() -> None:
    seen: list[int] = []

    def counted(trial: Trial, *, device: str) -> dict[str, float]:
        seen.append(trial.seed)
        return {"m": float(trial.seed)}

    whole = SpreadOf(counted, RUNS)
    for seed in range(3):
        # 0 to 4 lie 2, 1, 0, 1 and 2 from their median.
        assert whole(Trial("h", "a", seed, {}), device="cpu").metrics == {"spread of m": 6 / 5}
    assert seen == list(range(15))
    assert whole.__wrapped__ is counted


def test_fresh_seeds_lie_apart_whatever_is_measured() -> None:
    inner = fresh(experiment, APART)
    assert isinstance(inner, FreshSeeds)
    for whole in (EffectOf(inner, {}, {}), SpreadOf(inner)):
        assert whole.first_seed == APART
        assert getattr(fresh(whole, APART), "first_seed", 0) == 2 * APART


def test_sameness_that_was_predicted_is_no_news(tmp_path: Path) -> None:
    arms = CASES["equivalence"][0]["arms"]
    lab = ran(tmp_path, claim(arms=arms, predictions=(Prediction("accuracy", "same", 0.5),)))
    one = review(lab.archive, ["h"])["h"]
    tables = {"accuracy": averaged(read_tried(lab.archive, "h"), "accuracy", 1)}
    assert list(equivalence(one, tables)) == []


def test_drawn_points_are_told_from_a_grid(tmp_path: Path) -> None:
    lab = ran(
        tmp_path,
        claim("grid", factors={"width": [1, 2], "depth": [1, 2]}, seeds=3),
        claim("drawn", **CASES["drawn factor"][0]),
    )
    grid, scattered = review(lab.archive, ["grid", "drawn"]).values()
    assert (are_drawn(grid), are_drawn(scattered)) == (False, True)
    assert list(drawn(grid, read_tried(lab.archive, "grid"), "accuracy")) == []
    trials = read_tried(lab.archive, "drawn")
    assert shares(trials, "accuracy") == ()
    effects = drawn_effects(scattered, trials, "accuracy")
    assert [(one.factors, isinstance(one, DrawnEffect)) for one in effects] == [
        (("width",), True),
        (("depth",), True),
    ]


def test_seeds_that_lack_a_trial_are_left_out_whole(tmp_path: Path) -> None:
    lab = ran(tmp_path, claim(seeds=3))
    trials = read_tried(lab.archive, "h")
    assert {row.seed for row in balanced(trials, "accuracy")} == {0, 1, 2}
    assert {row.seed for row in balanced(trials[1:], "accuracy")} == {0, 1, 2} - {trials[0].seed}
