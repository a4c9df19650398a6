from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from neural_architecture_lab.hypothesis import Prediction
from neural_architecture_lab.judgement import Evidence, Verdict, compare, judge
from neural_architecture_lab.statistics import (
    bend,
    cohens_dz,
    dose_response,
    effects_of_drawn,
    factor_effects,
    interquartile_mean,
    mean_interval,
    paired_t,
    rank_biserial,
    repeated_effects,
    sign_flip,
    tost,
    wilcoxon_signed_rank,
)
from neural_architecture_lab.statistics.samples import scaled, unscaled

DIFFERENCES = np.random.default_rng(0).normal(0.5, 1, 9)
GRID = [(seed, a, b) for seed in range(5) for a in "xyz" for b in (0, 1)]
RESPONSE = np.random.default_rng(1).normal(size=len(GRID))
TABLE = np.random.default_rng(2).normal(size=(9, 5))
# Powers of two, so that scaling rounds nothing; squares overflow, or vanish.
UNITS = (2.0**1020, 2.0**-700)


def of_factors(unit: float) -> list[Any]:
    columns: dict[str, Any] = {"a": [one[1] for one in GRID], "b": [one[2] for one in GRID]}
    seeds, response = [one[0] for one in GRID], RESPONSE * unit
    return [
        factor_effects(columns, seeds, response),
        repeated_effects(columns, seeds, response),
        effects_of_drawn({"x": list(range(len(GRID)))}, response, resamples=50),
        dose_response(range(5), TABLE * unit).significance,
        bend(range(5), TABLE * unit, resamples=50).p_value,
    ]


@pytest.mark.parametrize("unit", UNITS)
def test_no_p_value_and_no_effect_size_depends_on_the_unit(unit: float) -> None:
    d = DIFFERENCES * unit
    for test in (paired_t, wilcoxon_signed_rank, sign_flip):
        assert test(d).p_value == test(DIFFERENCES).p_value
    for effect in (cohens_dz, rank_biserial):
        assert effect(d) == effect(DIFFERENCES)
    assert tost(d, 2 * unit).p_value == tost(DIFFERENCES, 2).p_value
    assert of_factors(unit) == of_factors(1)


@pytest.mark.parametrize("unit", UNITS)
def test_what_has_a_unit_comes_in_it(unit: float) -> None:
    here, there = mean_interval(DIFFERENCES * unit), mean_interval(DIFFERENCES)
    assert here.low == there.low * unit
    assert interquartile_mean(DIFFERENCES * unit) == interquartile_mean(DIFFERENCES) * unit
    slopes = [dose_response(range(5), TABLE * one).slope.value for one in (unit, 1)]
    assert slopes[0] == pytest.approx(slopes[1] * unit, rel=1e-12)


def test_an_end_that_no_float_holds_is_infinite() -> None:
    found = mean_interval([1.7e308, -1.7e308, 1.7e308])
    assert found.value == pytest.approx(1.7e308 / 3)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert unscaled(-1.0, 2000) == -math.inf
    assert scaled(np.array([0.0, 0.0]))[1] == 0


def judged(*treated: float, control: float = 0.0, margin: float = 0.0) -> Evidence:
    values = dict(enumerate(treated))
    zeros = dict.fromkeys(values, control)
    said, count = Prediction("loss", "higher", margin), len(treated)
    return judge([compare(said, ("b", "a"), values, zeros, ran=count, planned=count)])[0]


def test_the_largest_numbers_are_judged_as_what_they_are() -> None:
    found = judged(*(1.7e308 * (1 - seed / 1000) for seed in range(6)))
    assert found.verdict is Verdict.SUPPORTED
    assert found.mean is not None
    assert found.mean.value == pytest.approx(1.7e308, rel=0.01)


def test_tiny_differences_that_go_either_way_are_no_certain_difference() -> None:
    # Their squares vanish, which must not read as differences without any spread.
    found = judged(1e-200, -2e-200, 3e-200, -1e-200, 2e-200, 1e-200)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.adjusted > 0.2
    assert judged(*(1e-200 * (1 + seed / 10) for seed in range(6))).verdict is Verdict.SUPPORTED


def test_a_difference_that_no_float_holds_is_said_to_be_none() -> None:
    found = judged(1.7e308, 1.7e308, control=-1.7e308)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "2 seeds lack a finite difference of loss between b and a" in found.reason
