from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from neural_architecture_lab.cli.telling import evidence_cells, forecast_cells
from neural_architecture_lab.hypothesis import Prediction
from neural_architecture_lab.judgement import (
    Comparison,
    Evidence,
    Looks,
    Verdict,
    compare,
    judge,
    overall,
)
from neural_architecture_lab.planning import Forecast, Needed
from neural_architecture_lab.report.wording import is_alike, standardised
from neural_architecture_lab.statistics import group_sequential, paired_t

ARMS = ("grown", "fixed")
HIGHER = Prediction("accuracy", "higher", smallest_effect=0.5)


def comparison(differences: list[float], prediction: Prediction = HIGHER) -> Comparison:
    treated = dict(enumerate(differences))
    control = dict.fromkeys(treated, 0.0)
    n = len(differences)
    return compare(prediction, ARMS, treated, control, ran=n, planned=n)


def verdict(differences: list[float], prediction: Prediction = HIGHER) -> Evidence:
    return judge([comparison(differences, prediction)])[0]


CLEAR = [1.0, 1.2, 0.9, 1.1, 1.3, 0.8]
NOISE = [1.0, -1.2, 0.9, -1.1, 0.3, 0.2]
TINY = [0.01, -0.01, 0.02, -0.02, 0.01, 0.0]
SMALL = [0.10, 0.12, 0.09, 0.11, 0.13, 0.08]


@pytest.mark.parametrize(
    ("differences", "direction", "expected"),
    [
        (CLEAR, "higher", Verdict.SUPPORTED),
        (CLEAR, "lower", Verdict.REFUTED),
        (CLEAR, "same", Verdict.REFUTED),
        (NOISE, "higher", Verdict.INCONCLUSIVE),
        (NOISE, "same", Verdict.INCONCLUSIVE),
        (TINY, "higher", Verdict.EQUIVALENT),
        (TINY, "same", Verdict.SUPPORTED),
        (SMALL, "higher", Verdict.EQUIVALENT),
    ],
)
def test_verdicts_follow_from_the_differences(
    differences: list[float], direction: str, expected: Verdict
) -> None:
    prediction = Prediction("accuracy", direction, smallest_effect=0.5)  # type: ignore[arg-type]
    assert verdict(differences, prediction).verdict is expected


def test_without_a_smallest_effect_any_difference_counts_and_none_is_equivalent() -> None:
    plain = Prediction("accuracy", "higher")
    assert verdict(SMALL, plain).verdict is Verdict.SUPPORTED
    assert verdict(TINY, plain).verdict is Verdict.INCONCLUSIVE
    assert verdict(TINY, plain).equivalence is None


def test_a_difference_that_may_be_too_small_is_open() -> None:
    found = verdict([0.1, 0.9, 0.3, 0.6, 0.2, 0.5, 0.4, 0.35])
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "whether it reaches 0.5 is open" in found.reason


def test_nothing_tested_supports_nothing() -> None:
    found = verdict([5.0])
    assert (found.verdict, found.mean) == (Verdict.INCONCLUSIVE, None)
    assert found.reason == "nothing was tested: 1 paired seed"
    assert overall([]) == (Verdict.INCONCLUSIVE, "nothing was tested")
    assert judge([]) == ()


def test_a_seed_counts_where_both_arms_have_it() -> None:
    treated = {0: 1.0, 1: float("nan"), 3: 2.0, 4: 3.0, 5: 1.5, 6: 1.5}
    control = {0: 0.5, 1: 0.5, 2: 0.5, 3: 0.5, 4: 0.5, 5: 0.5, 6: 0.5}
    found = compare(HIGHER, ARMS, treated, control, ran=8, planned=8)
    assert found.seeds == (0, 3, 4, 5, 6)
    assert found.left_out == (1, 2, 7)
    assert found.complete


def test_too_many_failed_trials_leave_the_question_open() -> None:
    control = dict.fromkeys(range(8), 0.0)
    treated = {seed: 1 + 0.1 * seed for seed in range(6)}
    found = judge([compare(HIGHER, ARMS, treated, control, ran=8, planned=8)])[0]
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "2 of 8 seeds lack an arm" in found.reason
    assert found.mean is not None


def test_predictions_that_are_judged_together_share_the_level() -> None:
    borderline = [1.2, 1.0, 0.2, 0.4, 1.4, -0.3, 1.1, 0.5]
    plain = Prediction("accuracy", "higher")
    p = paired_t(borderline).p_value
    assert 0.01 < p < 0.05
    alone = verdict(borderline, plain)
    among = judge([comparison(borderline, plain), *[comparison(NOISE, plain)] * 9])[0]
    assert (alone.verdict, among.verdict) == (Verdict.SUPPORTED, Verdict.INCONCLUSIVE)
    assert alone.adjusted == pytest.approx(p)
    assert among.adjusted == pytest.approx(10 * p)


def test_an_early_look_needs_more_and_shows_no_equivalence() -> None:
    looks = Looks(group_sequential([6, 12]))
    plain = Prediction("accuracy", "higher", smallest_effect=0.05)
    moderate = dict(enumerate([1.0, 0.2, 0.9, 0.3, 1.1, 0.1]))
    zeros = dict.fromkeys(range(6), 0.0)
    at_once = compare(plain, ARMS, moderate, zeros, ran=6, planned=6)
    early = compare(plain, ARMS, moderate, zeros, ran=6, planned=12, looks=looks)
    assert judge([at_once])[0].verdict is Verdict.SUPPORTED
    assert judge([early])[0].verdict is Verdict.INCONCLUSIVE
    assert early.p_value > at_once.p_value
    tiny = compare(HIGHER, ARMS, dict(enumerate(TINY)), zeros, ran=6, planned=12, looks=looks)
    assert judge([tiny])[0].verdict is Verdict.INCONCLUSIVE


def test_between_looks_nothing_is_tested() -> None:
    looks = Looks(group_sequential([6, 12]))
    zeros = dict.fromkeys(range(5), 0.0)
    found = compare(HIGHER, ARMS, dict(enumerate(CLEAR[:5])), zeros, ran=5, planned=12, looks=looks)
    assert found.p_value == 1


def test_an_open_question_says_how_many_seeds_would_settle_it() -> None:
    """Mean .55 and deviation .9: an effect of .61 needs 24 seeds or so."""
    generator = np.random.default_rng(0)
    drawn = generator.normal(size=6)
    drawn = 0.55 + 0.9 * (drawn - drawn.mean()) / drawn.std(ddof=1)
    found = verdict(drawn.tolist())
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.seeds_to_settle == 24
    assert verdict(CLEAR).seeds_to_settle is None


def test_more_seeds_settle_what_is_judged_with_others() -> None:
    differences = dict(enumerate([0.5, 0.1, 0.4, -0.1, 0.3]))
    plain = Prediction("accuracy", "higher")
    zeros = dict.fromkeys(differences, 0.0)
    one = compare(plain, ("b", "a"), differences, zeros, ran=5, planned=5)
    alone = judge([one])[0].seeds_to_settle
    among = [found.seeds_to_settle for found in judge([one] * 4)]
    assert alone is not None
    assert all(count is not None and count > alone > 5 for count in among)


def test_what_was_not_tested_says_what_it_lacks() -> None:
    prediction = Prediction("accuracy", "higher")
    nothing = dict.fromkeys(range(3), float("nan"))
    one = compare(prediction, ("b", "a"), nothing, dict(enumerate([1.0] * 3)), ran=3, planned=3)
    assert judge([one])[0].reason == (
        "nothing was tested: 0 paired seeds, since 3 seeds lack a finite difference of accuracy"
        " between b and a"
    )


@pytest.mark.parametrize("rounding", [0.0, 1e-15])
def test_arms_that_differ_alike_on_every_seed_say_so_in_words(rounding: float) -> None:
    found = verdict([0.02, 0.02 + rounding, 0.02, 0.02 - rounding])
    assert standardised(found.effect) == "the same on every seed"
    foreseen = Forecast(3, "", 6, 1.0, 6.0, (Needed(found.comparison.prediction, 0, 6e13, {}),))
    assert forecast_cells(foreseen)[0][1] == "the same on every seed"
    assert not is_alike(1e3)
    row: dict[str, Any] = dict.fromkeys(
        ("metric", "hypothesis", "arm", "versus", "difference", "verdict"), ""
    )
    row |= {"standardised": [math.inf] * 3, "difference": None, "corrected_p": 0.5, "pairs": 3}
    assert evidence_cells(row)[4] == "the same on every seed"


def test_the_evidence_shows_its_numbers() -> None:
    found = verdict(CLEAR)
    assert found.mean is not None
    assert found.effect is not None
    assert found.mean.value == pytest.approx(1.05)
    assert found.effect.value == pytest.approx(np.mean(CLEAR) / np.std(CLEAR, ddof=1))
    assert [test.method for test in found.tests] == [
        "paired t",
        "Wilcoxon signed rank",
        "sign flip",
    ]
    assert found.reason.startswith("a difference is shown; mean difference 1.05 [")


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((CLEAR, CLEAR), Verdict.SUPPORTED),
        ((CLEAR, TINY), Verdict.EQUIVALENT),
        ((CLEAR, NOISE), Verdict.INCONCLUSIVE),
        ((NOISE, [-d for d in CLEAR]), Verdict.REFUTED),
    ],
)
def test_a_hypothesis_is_supported_where_all_its_predictions_are(
    verdicts: tuple[list[float], list[float]], expected: Verdict
) -> None:
    found, why = overall(judge([comparison(differences) for differences in verdicts]))
    assert found is expected
    assert why.startswith("of 2 predictions: ")


def test_no_effect_is_claimed_as_often_as_the_level_says() -> None:
    """600 batches of five predictions without an effect: some claim in .05, within .027."""
    generator = np.random.default_rng(1)
    plain = Prediction("accuracy", "higher")
    claimed = [
        any(
            found.verdict is not Verdict.INCONCLUSIVE
            for found in judge(
                [comparison(generator.normal(size=6).tolist(), plain) for _ in range(5)]
            )
        )
        for _ in range(600)
    ]
    assert np.mean(claimed) < 0.077


def test_a_value_of_a_seed_that_was_not_run_is_an_error() -> None:
    with pytest.raises(ValueError, match="Seeds 0 to 1 were run, but there is a value of seed 2"):
        compare(HIGHER, ARMS, {2: 1.0}, {}, ran=2, planned=2)


def test_a_seed_that_is_far_off_leaves_the_question_open_and_is_not_left_out() -> None:
    treated = {0: 1e300, 1: 2.0, 2: 2.5, 3: 1.9, 4: 2.2, 5: 2.1}
    zeros = dict.fromkeys(treated, 0.0)
    one = compare(HIGHER, ARMS, treated, zeros, ran=6, planned=6)
    assert one.left_out == ()
    assert judge([one])[0].verdict is Verdict.INCONCLUSIVE
