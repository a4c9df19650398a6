"""The lab's values as records of `structure_net.logging`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neural_architecture_lab.hypothesis import Hypothesis
from neural_architecture_lab.judgement import Evidence, Verdict
from neural_architecture_lab.runners.protocol import Result
from neural_architecture_lab.trials import Design

if TYPE_CHECKING:
    from structure_net.logging import records


def hypothesis_record(hypothesis: Hypothesis, design: Design) -> records.Hypothesis:
    """A hypothesis as it is frozen."""
    from structure_net.logging import records

    predicted = []
    for prediction in hypothesis.predictions:
        arm, versus = hypothesis.sides(prediction)
        predicted.append(
            records.Predicted(
                metric=prediction.metric,
                direction=prediction.direction,
                smallest_effect=float(prediction.smallest_effect),
                arm=arm,
                versus=versus,
            )
        )
    return records.Hypothesis(
        hypothesis=hypothesis.id,
        name=hypothesis.name,
        category=hypothesis.category.value,
        question=hypothesis.question,
        prediction=hypothesis.prediction,
        predictions=tuple(predicted),
        alpha=float(hypothesis.alpha),
        power=float(hypothesis.power),
        arms=tuple(arm.name for arm in hypothesis.arms),
        seeds=tuple(range(design.seeds)),
        looks=design.looks,
        statement=dict(design.statement),
        digest=design.hash,
    )


def trial_record(result: Result, runner: str) -> records.Trial:
    """A trial that ended, on one of the lab's runners."""
    from structure_net.logging import records

    trial, outcome = result.trial, result.outcome
    told: dict[str, Any] = {"factors": dict(trial.factors), "settings": dict(trial.settings)}
    if outcome is not None:
        told |= {
            "metrics": dict(outcome.metrics),
            "curves": {name: tuple(values) for name, values in outcome.curves.items()},
            "events": tuple(outcome.events),
            "detail": dict(outcome.notes),
        }
    return records.Trial(
        trial=trial.id,
        hypothesis=trial.hypothesis,
        arm=trial.arm,
        seed=trial.seed,
        point=trial.point,
        status=result.status,
        seconds=result.seconds,
        memory=result.memory,
        error=result.error,
        attempt=result.attempt,
        runner=runner,
        **told,
    )


def evidence_record(hypothesis: str, place: int, evidence: Evidence) -> records.Evidence:
    """A judged prediction, by its place among those of the hypothesis."""
    from structure_net.logging import records

    comparison, mean, effect = evidence.comparison, evidence.mean, evidence.effect
    return records.Evidence(
        hypothesis=hypothesis,
        prediction=place,
        arm=comparison.arm,
        versus=comparison.versus,
        verdict=evidence.verdict.value,
        effect=None if mean is None else mean.value,
        interval=None if mean is None else (mean.low, mean.high),
        standardised=None if effect is None else effect.value,
        standardised_interval=None if effect is None else (effect.low, effect.high),
        p_value=comparison.p_value,
        adjusted=evidence.adjusted,
        pairs=len(comparison.seeds),
        seeds_to_settle=evidence.seeds_to_settle,
        method="paired t",
        reason=evidence.reason,
        statistics={
            "level": evidence.level,
            "left_out": list(comparison.left_out),
            "differences": list(comparison.differences),
            "others": {test.method: test.p_value for test in evidence.tests},
        },
    )


def verdict_record(
    hypothesis: str,
    verdict: Verdict,
    reason: str,
    *,
    changed: Sequence[str],
    how: Mapping[str, str],
) -> records.Evidence:
    """The verdict on a hypothesis as a whole, with how it came about in words."""
    from structure_net.logging import records

    return records.Evidence(
        hypothesis=hypothesis,
        verdict=verdict.value,
        reason=reason,
        changed=tuple(changed),
        statistics=dict(how),
    )
