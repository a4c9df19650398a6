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
    Value,
    Word,
)

Probability = Annotated[float, Field(ge=0, le=1)]


class Predicted(Value):
    """What will be found, in numbers, said beforehand.

    Args:
        metric: What is measured.
        direction: How ``arm`` compares with ``versus``.
        smallest_effect: The smallest mean difference that would matter, in the metric's own unit.
        arm: The arm that the prediction is about.
        versus: The arm that it is compared with.
    """

    metric: Word
    direction: Literal["higher", "lower", "same"]
    smallest_effect: Annotated[float, Field(ge=0)] = 0.0
    arm: str = ""
    versus: str = ""


class Hypothesis(RecordModel):
    """A question and predictions, fixed before the first trial.

    Args:
        hypothesis: A name that no other hypothesis of the lab has.
        name: What people call it.
        category: What it is about.
        question: In words.
        prediction: In words.
        predictions: In numbers; the place of one, from 0, is how evidence names it.
        alpha: The rate of false positives that is accepted.
        power: The wanted chance of finding an effect that is there.
        arms: What is compared, by name.
        seeds: The seeds that every arm is planned to see.
        looks: The numbers of seeds at which one looks; the last is the planned one.
        statement: All that was fixed, as it was hashed.
        digest: The SHA-256 of the statement.
    """

    kind: Literal["hypothesis"] = "hypothesis"
    version: Literal[1] = 1
    hypothesis: Word
    name: Word
    category: str = ""
    question: str
    prediction: str
    predictions: tuple[Predicted, ...] = ()
    alpha: Probability = 0.05
    power: Probability = 0.8
    arms: tuple[str, ...] = ()
    seeds: tuple[Count, ...] = ()
    looks: tuple[Count, ...] = ()
    statement: FreeObject = Field(default_factory=dict)
    digest: Digest | None = None


class Trial(RecordModel):
    """One experiment of one arm on one seed.

    Args:
        trial: A name that no other trial of the lab has.
        hypothesis: The hypothesis that it serves; empty for none.
        arm: Which arm.
        seed: Which seed.
        point: Which point of the factors, from 0.
        factors: The levels of the factors there.
        settings: All that the experiment was told.
        status: ``lost``: its process died.
        metrics: What came out, by name.
        curves: Series of numbers by name, one value an epoch.
        events: What happened and when, as pairs of an epoch and words.
        seconds: Wall-clock time.
        memory: The most memory that its process held, in MiB; None where nobody could tell.
        error: What went wrong, in words.
        attempt: Counted from 1: how often it was begun.
        runner: What ran it.
        run: The run that it made, by its name or folder; empty for none.
        detail: What else there is to say.
    """

    kind: Literal["trial"] = "trial"
    version: Literal[1] = 1
    trial: Word
    hypothesis: str = ""
    arm: str = ""
    seed: Count = 0
    point: Count = 0
    factors: FreeObject = Field(default_factory=dict)
    settings: FreeObject = Field(default_factory=dict)
    status: Literal["finished", "failed", "timed_out", "out_of_memory", "lost", "cancelled"]
    metrics: dict[str, Number] = Field(default_factory=dict)
    curves: dict[str, tuple[Number, ...]] = Field(default_factory=dict)
    events: tuple[tuple[Number, str], ...] = ()
    seconds: Number = 0.0
    memory: Number | None = None
    error: str = ""
    attempt: Annotated[int, Field(ge=1)] = 1
    runner: str = ""
    run: str = ""
    detail: FreeObject = Field(default_factory=dict)


class Evidence(RecordModel):
    """The verdict on a prediction, or on a hypothesis as a whole.

    Args:
        hypothesis: Which.
        prediction: The place of the prediction, from 0; None for the hypothesis as a whole.
        arm: The arm that it is about.
        versus: The arm that it is compared with.
        verdict: Nothing tested is ``inconclusive``.
        effect: The mean difference in the metric's unit; None where there is none, as for the next.
        interval: Its confidence interval, low and high.
        standardised: The difference in standard deviations of the paired differences.
        standardised_interval: Its confidence interval.
        p_value: Before any correction.
        adjusted: Corrected for all that was judged together.
        pairs: How many pairs were compared.
        seeds_to_settle: How many seeds would settle what is open; None where it is settled, or
            where no reasonable number would.
        method: The test.
        reason: The verdict in words.
        changed: What was changed since the hypothesis was fixed, in words.
        statistics: What else was computed.
    """

    kind: Literal["evidence"] = "evidence"
    version: Literal[1] = 1
    hypothesis: Word
    prediction: Count | None = None
    arm: str = ""
    versus: str = ""
    verdict: Literal["supported", "refuted", "equivalent", "inconclusive"]
    effect: Number | None = None
    interval: tuple[Number, Number] | None = None
    standardised: Number | None = None
    standardised_interval: tuple[Number, Number] | None = None
    p_value: Probability | None = None
    adjusted: Probability | None = None
    pairs: Count = 0
    seeds_to_settle: Count | None = None
    method: str = ""
    reason: str = ""
    changed: tuple[str, ...] = ()
    statistics: FreeObject = Field(default_factory=dict)


class Search(RecordModel):
    """A search for good settings, as it was begun.

    Args:
        search: A name that no other search and no hypothesis of the lab has.
        name: What people call it.
        question: In words.
        objectives: What is sought: the direction that counts as better, by metric.
        tries: How many settings are to be tried.
        seeds: The seeds that every setting is tried with.
        statement: All that was fixed, as it was hashed.
        digest: The SHA-256 of the statement.
        changed: What was changed since the search was begun, in words.
    """

    kind: Literal["search"] = "search"
    version: Literal[1] = 1
    search: Word
    name: Word
    question: str = ""
    objectives: Annotated[dict[str, Literal["higher", "lower"]], Field(min_length=1)]
    tries: Annotated[int, Field(ge=1)]
    seeds: tuple[Count, ...] = ()
    statement: FreeObject = Field(default_factory=dict)
    digest: Digest | None = None
    changed: tuple[str, ...] = ()


class Setting(RecordModel):
    """What a search did with one setting: its trials carry its number as their point.

    Args:
        search: Which search.
        number: Which setting, from 0.
        status: ``reported``: it got as far as a step; the last three end it.
        params: What the sampler chose, by name.
        settings: What the experiment is told.
        step: Which step was reported.
        values: The objectives, in their order; of a report the only one, up to that step.
        reason: Why it ended as it did, where there is something to say.
    """

    kind: Literal["setting"] = "setting"
    version: Literal[1] = 1
    search: Word
    number: Count
    status: Literal["asked", "reported", "complete", "pruned", "failed"]
    params: FreeObject = Field(default_factory=dict)
    settings: FreeObject = Field(default_factory=dict)
    step: Count | None = None
    values: tuple[Number, ...] = ()
    reason: str = ""
