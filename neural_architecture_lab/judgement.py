"""What the numbers say of a prediction: SUPPORTED, REFUTED, EQUIVALENT or INCONCLUSIVE, and why.

A verdict follows from paired differences by rules that stand here and nowhere else:

- Nothing is claimed of fewer than two pairs, nor where more than a fifth of the seeds lack an arm.
- A difference is claimed where the paired t test, corrected for all predictions that are judged
  together and for all looks, falls to ``alpha``.
- EQUIVALENT needs a smallest effect that matters, all planned seeds, and two one-sided tests that
  place the mean difference within it.
- A difference in the predicted direction supports a prediction only if the mean reaches the
  smallest effect; one in the other direction refutes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, Literal

import numpy as np

from neural_architecture_lab.hypothesis import Prediction
from neural_architecture_lab.statistics import (
    Boundary,
    Equivalence,
    Interval,
    Significance,
    cohens_dz,
    holm,
    mean_interval,
    paired_t,
    seeds_for_equivalence,
    seeds_needed,
    sequential_p_value,
    sign_flip,
    tost,
    wilcoxon_signed_rank,
)
from neural_architecture_lab.statistics.samples import scaled

MOST_LEFT_OUT: Final = 0.2
MOST_WORTH_PLANNING: Final = 10_000


class Verdict(StrEnum):
    """What the evidence says of a prediction."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Looks:
    """How an experiment was looked at while it ran.

    Args:
        boundary: The planned looks.
        spending: How they spend the level.
    """

    boundary: Boundary
    spending: Literal["obrien-fleming", "pocock"] = "obrien-fleming"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The numbers of one prediction, before they are judged.

    Args:
        prediction: What was said beforehand.
        arm: The arm that it is about.
        versus: The arm that it is compared with.
        seeds: The seeds of which both arms have a value, and these a finite difference, ascending.
        differences: Theirs, ``arm - versus``, in the order of ``seeds``.
        left_out: The others: a trial failed, or brought no finite value.
        p_value: Of no difference, over all looks so far; 1 where fewer than two pairs are there.
        complete: Whether all planned seeds are in.
    """

    prediction: Prediction
    arm: str
    versus: str
    seeds: tuple[int, ...]
    differences: tuple[float, ...]
    left_out: tuple[int, ...]
    p_value: float
    complete: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """A judged prediction, with all numbers that the verdict rests on.

    Args:
        comparison: The paired differences.
        verdict: What they say.
        reason: Why, in words and numbers.
        adjusted: The p-value of no difference, corrected for all that was judged together.
        level: The level that it was held against.
        mean: The mean difference with its interval; None for fewer than two pairs.
        effect: It in standard deviations of the differences; None for fewer than two pairs.
        equivalence: The two one-sided tests; None without a smallest effect.
        tests: The t test, and for comparison the signed ranks and the sign flips, uncorrected.
        seeds_to_settle: How many seeds would settle what is open, going by these; None where it is
            settled, or where no reasonable number would.
    """

    comparison: Comparison
    verdict: Verdict
    reason: str
    adjusted: float
    level: float
    mean: Interval | None = None
    effect: Interval | None = None
    equivalence: Equivalence | None = None
    tests: tuple[Significance, ...] = ()
    seeds_to_settle: int | None = None


def compare(  # noqa: PLR0913 - who is compared, and how far the experiment is
    prediction: Prediction,
    arms: tuple[str, str],
    treated: Mapping[int, float],
    control: Mapping[int, float],
    *,
    ran: int,
    planned: int,
    looks: Looks | None = None,
) -> Comparison:
    """The paired differences of one prediction.

    Args:
        prediction: What was said.
        arms: The names of the treated arm and of the other.
        treated: Its value for each seed whose trial ended well.
        control: The other's.
        ran: How many seeds were run so far, well or not: those from 0 up to it.
        planned: How many seeds were planned.
        looks: The planned looks, where there is more than one.

    Raises:
        ValueError: A value is of a seed that was not run.
    """
    if unknown := sorted(seed for seed in {*treated, *control} if not 0 <= seed < ran):
        raise ValueError(
            f"Seeds 0 to {ran - 1} were run, but there is a value of seed {unknown[0]}."
        )
    found = {
        seed: float(treated[seed]) - float(control[seed])
        for seed in range(ran)
        if seed in treated and seed in control
    }
    seeds = tuple(seed for seed, difference in found.items() if math.isfinite(difference))
    differences = tuple(found[seed] for seed in seeds)
    left_out = tuple(sorted(set(range(ran)) - set(seeds)))
    p = _p_value(seeds, differences, ran, looks)
    return Comparison(prediction, *arms, seeds, differences, left_out, p, ran >= planned)


def judge(
    comparisons: Sequence[Comparison], *, alpha: float = 0.05, power: float = 0.8
) -> tuple[Evidence, ...]:
    """Judges predictions together, so that all of them make a false claim with ``alpha`` at most.

    Holm's correction runs over the tests of a difference, and over those of equivalence; of one
    prediction only one of the two can be wrong.

    Args:
        comparisons: All that are judged together: those of one hypothesis, or of a batch.
        alpha: The chance of a false difference, and of a false equivalence, among all of them.
        power: With what power the seeds that would settle an open question are planned.

    Returns:
        In the order given.
    """
    if not comparisons:
        return ()
    adjusted = holm([comparison.p_value for comparison in comparisons])
    sameness = [_equivalence(comparison, alpha) for comparison in comparisons]
    same = holm([1.0 if found is None else found.p_value for found in sameness])
    return tuple(
        _evidence(comparison, float(p), found, float(q), (alpha, len(comparisons)), power)
        for comparison, p, found, q in zip(comparisons, adjusted, sameness, same, strict=True)
    )


def overall(evidence: Sequence[Evidence]) -> tuple[Verdict, str]:
    """The verdict on a hypothesis from those on its predictions, and why.

    It is supported where all of them are, refuted where one is, equivalent where none is open and
    one is equivalent, and inconclusive else. Where nothing was tested it is inconclusive.
    """
    verdicts = [item.verdict for item in evidence]
    if not verdicts:
        return Verdict.INCONCLUSIVE, "nothing was tested"
    counted = ", ".join(
        f"{verdicts.count(verdict)} {verdict}" for verdict in Verdict if verdict in verdicts
    )
    said = f"of {len(verdicts)} predictions: {counted}" if len(verdicts) > 1 else ""
    said = said or evidence[0].reason
    if Verdict.REFUTED in verdicts:
        return Verdict.REFUTED, said
    if Verdict.INCONCLUSIVE in verdicts:
        return Verdict.INCONCLUSIVE, said
    return (Verdict.EQUIVALENT if Verdict.EQUIVALENT in verdicts else Verdict.SUPPORTED), said


def _p_value(
    seeds: Sequence[int], differences: Sequence[float], ran: int, looks: Looks | None
) -> float:
    if len(differences) < 2:
        return 1.0
    if looks is None or len(looks.boundary.looks) == 1:
        return paired_t(differences).p_value
    found = []
    for look in looks.boundary.looks:
        if look > ran:
            break
        until = [d for seed, d in zip(seeds, differences, strict=True) if seed < look]
        found.append(paired_t(until).p_value if len(until) > 1 else 1.0)
    if not found:  # not even the first look: nothing has been tested
        return 1.0
    return sequential_p_value(looks.boundary, found, spending=looks.spending)


def _equivalence(comparison: Comparison, alpha: float) -> Equivalence | None:
    margin = comparison.prediction.smallest_effect
    if margin == 0 or len(comparison.differences) < 2 or not comparison.complete:
        return None
    return tost(comparison.differences, margin, alpha=alpha)


def _evidence(
    comparison: Comparison,
    adjusted: float,
    sameness: Equivalence | None,
    same: float,
    level: tuple[float, int],
    power: float,
) -> Evidence:
    alpha, family = level
    blank = Evidence(comparison, Verdict.INCONCLUSIVE, "", adjusted, alpha)
    differences, missing = comparison.differences, len(comparison.left_out)
    if len(differences) < 2:
        return replace(blank, reason=_untested(comparison))
    mean = mean_interval(differences, confidence=1 - alpha)
    numbers: dict[str, Any] = {
        "mean": mean,
        "effect": cohens_dz(differences, confidence=1 - alpha),
        "equivalence": sameness,
        "tests": tuple(f(differences) for f in (paired_t, wilcoxon_signed_rank, sign_flip)),
    }
    if missing > MOST_LEFT_OUT * (len(differences) + missing):
        return replace(
            blank,
            **numbers,
            reason=f"{missing} of {len(differences) + missing} seeds lack an arm, and why trials"
            " fail may have to do with what they would have shown",
        )
    verdict, reason = _verdict(comparison, mean, adjusted, same, alpha)
    open_still = verdict is Verdict.INCONCLUSIVE
    settle = _seeds(comparison, alpha / family, power) if open_still else None
    return replace(blank, **numbers, verdict=verdict, reason=reason, seeds_to_settle=settle)


def _untested(comparison: Comparison) -> str:
    pairs, missing = len(comparison.differences), len(comparison.left_out)
    said = f"nothing was tested: {pairs} paired seed{'s' * (pairs != 1)}"
    if not missing:
        return said
    return (
        f"{said}, since {missing} seed{'s' * (missing != 1)} lack a finite difference of"
        f" {comparison.prediction.metric} between {comparison.arm} and {comparison.versus}"
    )


def _verdict(
    comparison: Comparison, mean: Interval, adjusted: float, same: float, alpha: float
) -> tuple[Verdict, str]:
    prediction = comparison.prediction
    margin = prediction.smallest_effect
    shown = f"mean difference {mean}, p = {adjusted:.2g}"
    if margin and same <= alpha:
        verdict = Verdict.SUPPORTED if prediction.direction == "same" else Verdict.EQUIVALENT
        return verdict, f"within {margin:g} of each other (p = {same:.2g}); {shown}"
    if prediction.direction == "same":
        verdict, said = _of_sameness(mean.value, margin, differs=adjusted <= alpha)
    else:
        toward = mean.value if prediction.direction == "higher" else -mean.value
        verdict, said = _of_difference(toward, margin, differs=adjusted <= alpha)
    return verdict, f"{said}; {shown}"


def _of_sameness(mean: float, margin: float, *, differs: bool) -> tuple[Verdict, str]:
    if differs and abs(mean) >= margin:
        return Verdict.REFUTED, f"they differ by {margin:g} or more"
    return Verdict.INCONCLUSIVE, f"not shown to be within {margin:g}"


def _of_difference(toward: float, margin: float, *, differs: bool) -> tuple[Verdict, str]:
    if not differs:
        return Verdict.INCONCLUSIVE, "no difference is shown"
    if toward < 0:
        return Verdict.REFUTED, "the difference goes the other way"
    if toward < margin:
        open_still = f"there is a difference, but whether it reaches {margin:g} is open"
        return Verdict.INCONCLUSIVE, open_still
    return Verdict.SUPPORTED, "a difference is shown"


def _seeds(comparison: Comparison, alpha: float, power: float) -> int | None:
    """The fewest seeds, more than there are, that would show such a difference or its absence."""
    margin = comparison.prediction.smallest_effect
    differences, exponent = scaled(np.array(comparison.differences), beside=margin)
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1))
    margin = math.ldexp(margin, -exponent)
    if deviation == 0:
        return None
    found = []
    if mean != 0 and (abs(mean) >= margin):
        found.append(_planned(lambda: seeds_needed(mean / deviation, alpha=alpha, power=power)))
    if margin > abs(mean):
        found.append(
            _planned(
                lambda: seeds_for_equivalence(
                    margin / deviation, mean / deviation, alpha=alpha, power=power
                )
            )
        )
    enough = [max(count, len(differences) + 1) for count in found if count is not None]
    return min(enough, default=None)


def _planned(count: Callable[[], int]) -> int | None:
    try:
        needed = count()
    except ValueError:  # more than a million
        return None
    return needed if needed <= MOST_WORTH_PLANNING else None
