from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neural_architecture_lab import Arm, Prediction, Range, Stopping, Trial, Verdict
from neural_architecture_lab.errors import StoreError
from neural_architecture_lab.insights import Insight, extract
from neural_architecture_lab.insights.arms import dominance, instability, surprises
from neural_architecture_lab.insights.factors import doses, effects, numbers_in
from neural_architecture_lab.insights.features import features
from neural_architecture_lab.insights.following import follow_up
from neural_architecture_lab.insights.insight import Lead, Variant
from neural_architecture_lab.insights.reading import Tried, averaged, read_tried, tried_of
from neural_architecture_lab.reviewing import review
from neural_architecture_lab.trials import APART, FreshSeeds, design
from tests.neural_architecture_lab.insights.learning import claim, experiment, ran


def arms(**of_b: float) -> tuple[Arm, Arm]:
    return (Arm("a", dict.fromkeys(of_b, 0.0), control=True), Arm("b", of_b))


def kinds(found: tuple[Insight, ...]) -> Counter[str]:
    return Counter(one.kind for one in found)


def test_what_was_predicted_up_and_went_down_is_a_surprise(tmp_path: Path) -> None:
    lab = ran(tmp_path, claim(arms=arms(bonus=-1.0)))
    (found,) = lab.extract_insights()
    assert found.kind == "surprise"
    assert "accuracy of b was predicted to be higher than that of a, and is lower" in found.sentence
    assert found.numbers["high"] < 0
    assert found.p_value <= found.adjusted < 1e-6
    assert "paired t test" in str(found)


def test_what_went_as_predicted_is_none(tmp_path: Path) -> None:
    assert ran(tmp_path, claim(arms=arms(bonus=1.0))).extract_insights() == ()


def test_an_arm_that_is_better_and_cheaper_beats_the_other(tmp_path: Path) -> None:
    pair = (Arm("a", {"size": 20.0}, control=True), Arm("b", {"size": 10.0, "bonus": 1.0}))
    found = ran(tmp_path, claim(arms=pair)).extract_insights()
    assert kinds(found)["dominance"] == 1
    (one,) = (one for one in found if one.kind == "dominance")
    assert "b beats a in accuracy by" in one.sentence
    assert one.numbers["parameters"] == 10


def test_an_arm_whose_seeds_spread_more_is_named(tmp_path: Path) -> None:
    pair = (Arm("a", {"spread": 1.0}, control=True), Arm("b", {"spread": 200.0}))
    found = ran(tmp_path, claim(arms=pair, seeds=24)).extract_insights()
    assert "spreads more over the seeds in b than in a" in found[0].sentence


def test_factors_trends_and_bends_are_found_and_others_are_not(tmp_path: Path) -> None:
    said = claim(
        arms=arms(slope=0.5, bend=3.0),
        factors={"width": [1, 2, 3, 4, 5], "depth": [1, 2]},
        predictions=(Prediction("accuracy", "higher", arm="b"),),
    )
    found = ran(tmp_path, said).extract_insights()
    assert kinds(found) == {"factor": 2, "interaction": 1, "trend": 1, "bend": 1}
    texts = " ".join(one.sentence for one in found)
    assert "accuracy rises with width" in texts
    assert "bends at 3" in texts
    assert "width and arm depend on each other" in texts
    assert "depth" not in texts
    assert [one.adjusted for one in found] == sorted(one.adjusted for one in found)


def test_arms_that_differ_in_one_number_are_a_dose(tmp_path: Path) -> None:
    ladder = tuple(Arm(f"w{w}", {"width": w, "slope": 1.0}, control=w == 1) for w in (1, 2, 4, 16))
    said = claim(arms=ladder, predictions=(Prediction("accuracy", "higher", arm="w16"),))
    found = ran(tmp_path, said).extract_insights()
    (trend,) = (one for one in found if one.kind == "trend")
    assert "rises with width" in trend.sentence
    assert "for each doubling from 1 to 16" in trend.sentence


def test_drawn_points_are_not_mistaken_for_a_grid(tmp_path: Path) -> None:
    drawn = {"width": Range(1, 5), "depth": Range(1, 5)}
    said = claim(factors=drawn, layout="latin-hypercube", points=5, arms=arms(slope=1.0))
    assert not {"trend", "bend", "factor"} & set(kinds(ran(tmp_path, said).extract_insights()))


def test_features_that_go_with_good_results_are_found_across_hypotheses(tmp_path: Path) -> None:
    ladder = tuple(
        Arm(f"w{w}", {"width": w, "slope": 1.0}, control=w == 1) for w in (1, 2, 3, 4, 5)
    )
    said = (Prediction("accuracy", "higher", arm="w5"),)
    lab = ran(tmp_path, *(claim(name, arms=ladder, predictions=said) for name in ("one", "two")))
    (found,) = (one for one in lab.extract_insights() if one.kind == "feature")
    assert found.hypotheses == ("one", "two")
    assert found.sentence.startswith("accuracy goes up with width: mean rank correlation 1.00")


def test_features_that_rank_alike_are_one_finding(tmp_path: Path) -> None:
    ladder = tuple(
        Arm(f"w{w}", {"width": w, "size": 2.0 * w, "slope": 1.0}, control=w == 1)
        for w in (1, 2, 3, 4, 5)
    )
    said = (Prediction("accuracy", "higher", arm="w5"),)
    lab = ran(tmp_path, *(claim(name, arms=ladder, predictions=said) for name in ("one", "two")))
    (found,) = (one for one in lab.extract_insights() if one.kind == "feature")
    alike = "number of parameters, size and width, which rank alike"
    assert found.sentence.startswith(f"accuracy goes up with {alike}: mean rank correlation 1.00")


def test_a_run_that_stopped_early_is_tested_for_surprises_only(tmp_path: Path) -> None:
    pair = (Arm("a", {"size": 1.0, "bonus": 1.0}, control=True), Arm("b", {"size": 9.0}))
    said = claim(arms=pair, seeds=16, stopping=Stopping(looks=(8, 16)))
    lab = ran(tmp_path, said)
    assert review(lab.archive, ["h"])["h"].seeds == 8
    assert kinds(lab.extract_insights()) == {"surprise": 1}


def test_nothing_is_found_in_noise_more_often_than_the_level_allows(tmp_path: Path) -> None:
    names = [f"null {place}" for place in range(20)]
    lab = ran(tmp_path, *(claim(name, arms=(Arm("a", control=True), Arm(f"b{name}")),
        predictions=(Prediction("accuracy", "higher"),)) for name in names))  # fmt: skip
    # Each by itself: 20 families of null hypotheses, of which one in twenty may err.
    wrong = sum(bool(extract(lab.archive, [key])) for key in lab.hypotheses)
    assert wrong <= 4  # P(more | 20 times .05) = .003


def test_the_test_of_spreads_keeps_its_level_on_paired_seeds(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    named = review(ran(tmp_path, claim()).archive, ["h"])["h"]
    hits = 0
    for _ in range(600):
        shared = generator.normal(size=10)
        pair = shared + generator.normal(size=(2, 10))
        table = {arm: dict(enumerate(map(float, row))) for arm, row in zip("ab", pair, strict=True)}
        (found,) = instability(named, {"m": table})
        hits += found.p_value <= 0.05
    assert hits / 600 <= 0.05 + 3 * (0.05 * 0.95 / 600) ** 0.5


def test_a_follow_up_predicts_what_was_found_on_seeds_of_its_own(tmp_path: Path) -> None:
    lab = ran(tmp_path, claim(arms=arms(bonus=-1.0)))
    again = lab.extract_insights()[0].follow_up
    assert again is not None
    assert (again.predictions[0].direction, again.control.name) == ("lower", "a")
    assert again.seeds == 20  # twice as many as surprised
    assert isinstance(again.experiment, FreshSeeds)
    laid = design(again)
    assert laid.statement["code"]["first_seed"] == str(APART)
    assert laid.statement["code"]["experiment"].endswith("learning.experiment")
    trial = Trial("h", "a", 3, {"bonus": 1.0})
    moved = experiment(replace(trial, seed=3 + APART), device="cpu")
    assert again.experiment(trial, device="cpu") == moved
    result = lab.run_hypothesis_test(lab.register_hypothesis(again))
    assert result.verdict is Verdict.SUPPORTED
    two = (Variant("a", "a"), Variant("b", "b"))
    lead = Lead(two, (Prediction("m", "lower", arm="b"),))
    found = Insight("surprise", "s", ("h",), "t", 0.01, {}, lead)
    second = follow_up(found, again)
    assert second is not None
    assert isinstance(second.experiment, FreshSeeds)
    assert second.experiment.first_seed == 2 * APART
    assert follow_up(replace(found, lead=None), again) is None


def test_a_follow_up_of_a_trend_compares_the_ends_of_the_factor(tmp_path: Path) -> None:
    said = claim(
        arms=arms(slope=0.5),
        factors={"width": [1, 2, 3]},
        predictions=(Prediction("accuracy", "higher"),),
    )
    lab = ran(tmp_path, replace(said, arms=(Arm("a", {"slope": 1.0}, control=True), said.arms[1])))
    (trend,) = (one for one in lab.extract_insights() if one.kind == "trend")
    assert trend.follow_up is not None
    assert [dict(arm.settings) for arm in trend.follow_up.arms] == [
        {"slope": 1.0, "width": 1},
        {"slope": 1.0, "width": 3},
    ]
    assert type(trend.follow_up.arms[0].settings["width"]) is int  # as it was given


def test_the_report_tells_insights_with_their_tests(tmp_path: Path) -> None:
    lab = ran(tmp_path, claim(arms=arms(bonus=-1.0)))
    text = str(lab.generate_report())
    assert "## Insights" in text
    assert "| surprise | h: accuracy of b was predicted to be higher" in text
    with pytest.raises(StoreError, match="no results of 'x'"):
        lab.extract_insights(["x"])


def test_every_test_that_was_made_is_a_candidate(tmp_path: Path) -> None:
    lab = ran(tmp_path, claim(factors={"width": [1, 2, 3, 4], "depth": [1, 2]}))
    one = review(lab.archive, ["h"])["h"]
    trials = read_tried(lab.archive, "h")
    tables = {"accuracy": averaged(trials, "accuracy", 8)}
    assert len(list(surprises(one))) == 1
    assert len(list(instability(one, tables))) == 1
    assert list(dominance(one, tables)) == []  # nothing was paid
    assert len(list(effects(one, trials, "accuracy"))) == 6  # three factors and their pairs
    assert [found.kind for found in doses(one, trials, "accuracy")] == ["trend", "bend"]
    assert list(features([(one, trials)])) == []  # one hypothesis alone is no pattern


def test_seeds_that_lack_a_point_have_no_mean() -> None:
    def tried(seed: int, point: int, value: float) -> Tried:
        return Tried("a", seed, point, {}, {}, "finished", {"m": value}, 1.0, None, "")

    trials = [tried(0, 0, 1.0), tried(0, 1, 3.0), tried(1, 0, 5.0)]
    assert averaged(trials, "m", 2) == {"a": {0: 2.0}}


def test_a_record_is_read_without_its_curves(tmp_path: Path) -> None:
    lab = ran(tmp_path, claim())
    record = next(lab.archive.trials("h"))
    assert tried_of(record).metrics == record.metrics


def test_numbers_are_found_in_nested_settings() -> None:
    assert numbers_in({"a": 1, "b": {"c": 0.5, "d": True}, "hidden": [4, 2], "e": "x"}) == {
        "a": 1.0,
        "b.c": 0.5,
        "length of hidden": 2.0,
        "sum of hidden": 6.0,
    }
