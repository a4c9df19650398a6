from __future__ import annotations

from collections.abc import Mapping

import pytest

from neural_architecture_lab import Arm, Hypothesis, HypothesisCategory, Prediction, Trial
from neural_architecture_lab.errors import DesignError
from neural_architecture_lab.planning import (
    FIRST_PILOT_SEED,
    Forecast,
    Needed,
    forecast,
    pilot_jobs,
)
from neural_architecture_lab.runners import SerialRunner
from neural_architecture_lab.runners.protocol import Result
from neural_architecture_lab.statistics import pilot_deviation, seeds_needed


def experiment(trial: Trial, *, device: str) -> Mapping[str, float]:
    """Differs between arms by 1 or 2, in turns; its size never."""
    if trial.settings.get("fails"):
        raise RuntimeError("as told")
    return {"score": (1 + trial.seed % 2) * (trial.arm == "b"), "size": 3}


def claim(*predictions: Prediction, **settings: bool) -> Hypothesis:
    arms = (Arm("a", settings, control=True), Arm("b", settings))
    return Hypothesis(
        "h", HypothesisCategory.TRAINING, "?", "!", experiment, arms, predictions=predictions
    )


def piloted(hypothesis: Hypothesis, seeds: int = 4) -> list[Result]:
    return list(SerialRunner().run(pilot_jobs(hypothesis, seeds)))


def test_a_pilot_uses_no_seed_of_the_test() -> None:
    jobs = list(pilot_jobs(claim(Prediction("score", "higher", 1)), 2))
    assert {job.trial.seed for job in jobs} == {FIRST_PILOT_SEED, FIRST_PILOT_SEED + 1}
    assert len(jobs) == 4


def test_seeds_follow_from_the_bound_on_the_pilots_spread() -> None:
    hypothesis = claim(Prediction("score", "higher", 0.5), Prediction("size", "lower", 1))
    found = forecast(hypothesis, piloted(hypothesis), parallel=2, wall=4.0)
    assert isinstance(found, Forecast)
    score, size = found.needed
    assert isinstance(score, Needed)
    deviation = pilot_deviation([1, 2, 1, 2])
    assert score.deviation == pytest.approx(deviation, rel=1e-12)
    for power in (0.8, 0.9, 0.95):
        assert score.seeds[power] == seeds_needed(0.5 / deviation, alpha=0.025, power=power)
    assert size.deviation == 0
    assert set(size.seeds.values()) == {5}  # what never varies needs the fewest that are planned
    # Eight trials of the pilot, two at once, took 4 s: a round takes 1 s.
    assert found.seconds == pytest.approx(found.trials / 2)


def test_sameness_needs_more_seeds_than_a_difference_as_large() -> None:
    same, higher = (claim(Prediction("score", way, 1)) for way in ("same", "higher"))
    counts = [
        forecast(one, piloted(one), parallel=1, wall=1).needed[0].seeds[0.8]
        for one in (same, higher)
    ]
    assert counts[0] is not None
    assert counts[1] is not None
    assert counts[0] > counts[1]


def test_a_pilot_that_failed_or_is_too_small_is_refused() -> None:
    hypothesis = claim(Prediction("score", "higher", 1), fails=True)
    with pytest.raises(DesignError, match="as told"):
        forecast(hypothesis, piloted(hypothesis), parallel=1, wall=1)
    with pytest.raises(DesignError, match="2 seeds or more"):
        list(pilot_jobs(hypothesis, 1))
