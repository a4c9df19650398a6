"""Records of a lab: what was predicted, what was tried, what came out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from structure_net.logging.records.values import (
    Count,
    Digest,
    FreeObject,
    Number,
    RecordModel,
    Word,
)

Probability = Annotated[float, Field(ge=0, le=1)]


class Hypothesis(RecordModel):
    """A question and a prediction, fixed before the first trial.

    Args:
        hypothesis: A name that no other hypothesis of the lab has.
        name: What people call it.
        category: What it is about.
        question: In words.
        prediction: In words.
        metric: What is measured.
        direction: Whether the metric should rise, fall, or stay as it is.
        smallest_effect: The smallest effect that matters, in units of the metric.
        alpha: The rate of false positives that is accepted.
        power: The wanted chance of finding the smallest effect.
        arms: What is compared, the baseline first.
        seeds: The seeds that every arm sees.
        design: What else was fixed: factors, stopping rule, experiment.
        digest: The SHA-256 of all that was fixed.
    """

    kind: Literal["hypothesis"] = "hypothesis"
    version: Literal[1] = 1
    hypothesis: Word
    name: Word
    category: str = ""
    question: str
    prediction: str
    metric: str = ""
    direction: Literal["increase", "decrease", "equal", ""] = ""
    smallest_effect: Number | None = None
    alpha: Probability = 0.05
    power: Probability = 0.8
    arms: tuple[str, ...] = ()
    seeds: tuple[Count, ...] = ()
    design: FreeObject = Field(default_factory=dict)
    digest: Digest | None = None


class Trial(RecordModel):
    """One experiment of one arm on one seed.

    Args:
        trial: A name that no other trial of the lab has.
        hypothesis: The hypothesis that it serves; empty for none.
        arm: Which arm.
        seed: Which seed.
        status: ``failed`` and ``timed_out`` trials are records as well.
        factors: The levels of the factors.
        metrics: What came out, by name.
        seconds: Wall-clock time.
        error: What failed, in words.
        attempt: Counted from 1: how often it was begun.
        run: The run that it made, by its name or folder; empty for none.
        detail: What else there is to say.
    """

    kind: Literal["trial"] = "trial"
    version: Literal[1] = 1
    trial: Word
    hypothesis: str = ""
    arm: str = ""
    seed: Count = 0
    status: Literal["finished", "failed", "timed_out", "cancelled"]
    factors: FreeObject = Field(default_factory=dict)
    metrics: dict[str, Number] = Field(default_factory=dict)
    seconds: Number = 0.0
    error: str = ""
    attempt: Annotated[int, Field(ge=1)] = 1
    run: str = ""
    detail: FreeObject = Field(default_factory=dict)


class Evidence(RecordModel):
    """The verdict on a hypothesis.

    Args:
        hypothesis: Which.
        verdict: Nothing tested is ``inconclusive``.
        effect: The estimate in units of the metric; None where there is none, as for the next.
        interval: Its confidence interval, low and high.
        p_value: Before any correction.
        adjusted: After the correction over the batch.
        pairs: How many pairs were compared.
        method: The test.
        reason: The verdict in words.
        changed: What was changed since the hypothesis was fixed, in words.
        statistics: What else was computed.
    """

    kind: Literal["evidence"] = "evidence"
    version: Literal[1] = 1
    hypothesis: Word
    verdict: Literal["supported", "refuted", "equivalent", "inconclusive"]
    effect: Number | None = None
    interval: tuple[Number, Number] | None = None
    p_value: Probability | None = None
    adjusted: Probability | None = None
    pairs: Count = 0
    method: str = ""
    reason: str = ""
    changed: tuple[str, ...] = ()
    statistics: FreeObject = Field(default_factory=dict)
