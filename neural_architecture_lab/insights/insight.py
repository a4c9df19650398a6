"""What is learned beyond the predictions: one finding, its numbers and its test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from neural_architecture_lab.hypothesis import Hypothesis, Prediction
from neural_architecture_lab.levels import Setting

Kind: TypeAlias = Literal[
    "surprise",
    "dominance",
    "equivalence",
    "instability",
    "factor",
    "interaction",
    "trend",
    "bend",
    "feature",
]


@dataclass(frozen=True, slots=True)
class Variant:
    """An arm of a follow-up: one of the hypothesis's, with changes.

    Args:
        name: What it is called.
        arm: Whose settings it begins with.
        changes: What is put over them: levels of factors.
    """

    name: str
    arm: str
    changes: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lead:
    """What a follow-up would compare, on fresh seeds.

    Args:
        variants: Its arms, the control first.
        predictions: What is claimed of them.
        seeds: How many it runs; as many as its power asks for if None.
        effect: The standardised effect that such a plan assumes.
        between: Two variants between which every trial goes, so that what is measured is the effect
            of going from the first to the second; None for the metrics themselves.
        spread: How many runs every trial makes, so that what is measured is how far apart they
            come out; 0 for the metrics themselves.
    """

    variants: tuple[Variant, ...]
    predictions: tuple[Prediction, ...]
    seeds: int | None = None
    effect: float = 1.0
    between: tuple[Variant, Variant] | None = None
    spread: int = 0


@dataclass(frozen=True, slots=True)
class Insight:
    """A finding that its test carries.

    Args:
        kind: What sort of finding.
        sentence: It, in words and numbers.
        hypotheses: The ids of those that it rests on.
        test: The name of the test.
        p_value: Uncorrected.
        adjusted: Corrected for all tests of the extraction (Benjamini and Hochberg), those that
            found nothing as well.
        numbers: What the sentence says, for programs.
        lead: What a follow-up would compare; None where there is no such thing.
        follow_up: A hypothesis that is ready to register; None where there is no lead, or the
            hypothesis that it rests on is not registered with the lab.
    """

    kind: Kind
    sentence: str
    hypotheses: tuple[str, ...]
    test: str
    p_value: float
    numbers: Mapping[str, float]
    lead: Lead | None = None
    adjusted: float = 1.0
    follow_up: Hypothesis | None = None

    def __str__(self) -> str:
        return (
            f"{self.sentence} ({self.test}, p = {self.p_value:.2g}, corrected {self.adjusted:.2g})"
        )

    def __repr__(self) -> str:
        return f"Insight({self.kind}: {self.sentence!r}, corrected p = {self.adjusted:.2g})"


class Insights(tuple[Insight, ...]):
    """Findings, the surest first; printed, a ranked line each."""

    __slots__ = ()

    def __str__(self) -> str:
        if not self:
            return "Nothing was found beyond the verdicts that its test, corrected, carries."
        return "\n".join(f"{rank}. {one.kind}: {one}" for rank, one in enumerate(self, 1))

    def __repr__(self) -> str:
        return str(self)
