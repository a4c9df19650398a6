"""What a hypothesis will cost, before it is run: a pilot, seeds for a power, and time.

A pilot's seeds are none of those that are tested later, and nothing of it is stored: it decides how
much is run, never what is found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from neural_architecture_lab.errors import DesignError
from neural_architecture_lab.hypothesis import Hypothesis, Prediction
from neural_architecture_lab.outcomes import mean_of
from neural_architecture_lab.runners.protocol import Job, Result, headline
from neural_architecture_lab.statistics import (
    pilot_deviation,
    seeds_for_equivalence,
    seeds_needed,
)
from neural_architecture_lab.trials import LEAST_SEEDS, design

FIRST_PILOT_SEED: Final = 1_000_000
POWERS: Final = (0.8, 0.9, 0.95)


@dataclass(frozen=True, slots=True)
class Needed:
    """What one prediction asks for.

    Args:
        prediction: Which.
        deviation: Of the paired differences, as the pilot bounds it; None where it cannot tell.
        effect: The smallest effect that matters in such deviations; what the hypothesis assumes
            where none is said.
        seeds: How many find it, by power; None where no reasonable number does.
    """

    prediction: Prediction
    deviation: float | None
    effect: float
    seeds: dict[float, int | None]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What running a hypothesis would take.

    Args:
        seeds: How many are planned as it stands.
        why: Where that number comes from.
        trials: How many trials that makes.
        seconds_each: What one took in the pilot, on average.
        seconds: What all will take, as many at once as asked.
        needed: What each prediction asks for.
    """

    seeds: int
    why: str
    trials: int
    seconds_each: float
    seconds: float
    needed: tuple[Needed, ...]


def pilot_jobs(hypothesis: Hypothesis, seeds: int, device: str = "cpu") -> Iterator[Job]:
    """The trials of a pilot: every arm at every point, with seeds that no test uses.

    Raises:
        DesignError: The hypothesis is not complete, or there are fewer than two seeds.
    """
    if seeds < 2:
        raise DesignError(f"A pilot needs 2 seeds or more, to see how they differ; got {seeds}.")
    assert hypothesis.experiment is not None  # the design is refused otherwise
    for trial in design(hypothesis, seeds=seeds).trials:
        moved = replace(trial, seed=FIRST_PILOT_SEED + trial.seed)
        yield Job(moved, hypothesis.experiment, device)


def forecast(
    hypothesis: Hypothesis, pilot: Sequence[Result], *, parallel: int, wall: float
) -> Forecast:
    """What running a hypothesis would take, going by a pilot.

    Args:
        hypothesis: Complete.
        pilot: The results of `pilot_jobs`.
        parallel: How many trials run at once.
        wall: How long the pilot took in all, in seconds, with as many at once: its trials disturb
            each other as those that are planned will.

    Raises:
        DesignError: Every trial of the pilot failed.
    """
    well = [result for result in pilot if result.outcome is not None]
    if not well:
        raise DesignError(
            f"Every trial of the pilot failed; the first one: {headline(pilot[0].error)}"
        )
    laid = design(hypothesis)
    each = math.fsum(result.seconds for result in pilot) / len(pilot)
    rounds = math.ceil(len(pilot) / parallel)
    seconds = math.ceil(len(laid.trials) / parallel) * wall / rounds
    return Forecast(
        laid.seeds,
        laid.why,
        len(laid.trials),
        each,
        seconds,
        tuple(_needed(hypothesis, prediction, well) for prediction in hypothesis.predictions),
    )


def _needed(hypothesis: Hypothesis, prediction: Prediction, pilot: Sequence[Result]) -> Needed:
    arms = hypothesis.sides(prediction)
    differences = _differences(prediction.metric, arms, pilot)
    deviation = pilot_deviation(differences) if len(differences) > 1 else None
    effect = abs(hypothesis.assumed_effect)
    if prediction.smallest_effect and deviation is not None:
        effect = prediction.smallest_effect / deviation if deviation else math.inf
    alpha = hypothesis.alpha / len(hypothesis.predictions)
    same = prediction.direction == "same"
    seeds = {power: _seeds(effect, alpha, power, same=same) for power in POWERS}
    named = replace(prediction, arm=arms[0], versus=arms[1])
    return Needed(named, deviation, effect, seeds)


def _differences(metric: str, arms: tuple[str, str], pilot: Sequence[Result]) -> list[float]:
    sums: dict[tuple[str, int], list[float]] = {}
    for result in pilot:
        assert result.outcome is not None  # only those that went well
        value = result.outcome.metrics.get(metric, math.nan)
        sums.setdefault((result.trial.arm, result.trial.seed), []).append(value)
    means = {key: mean_of(values) for key, values in sums.items()}
    seeds = sorted({seed for _, seed in means})
    found = [
        means[arms[0], seed] - means[arms[1], seed]
        for seed in seeds
        if (arms[0], seed) in means and (arms[1], seed) in means
    ]
    return [one for one in found if math.isfinite(one)]


def _seeds(effect: float, alpha: float, power: float, *, same: bool) -> int | None:
    if math.isinf(effect):
        return LEAST_SEEDS
    try:
        if same:
            count = seeds_for_equivalence(effect, alpha=alpha, power=power)
        else:
            count = seeds_needed(effect, alpha=alpha, power=power)
    except ValueError:  # more than a million
        return None
    return max(count, LEAST_SEEDS)
