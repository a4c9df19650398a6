"""What is learned beyond the predictions: one finding, its numbers and its test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from neural_architecture_lab.hypothesis import Hypothesis, Setting

Kind: TypeAlias = Literal[
    "surprise", "dominance", "instability", "factor", "interaction", "trend", "bend", "feature"
]


@dataclass(frozen=True, slots=True)
class Lead:
    """What a follow-up would compare, on fresh seeds.

    Args:
        metric: What it predicts about.
        better: The settings that reach more of it, by what they change of an arm.
        worse: The other settings.
        arms: The arms that the settings are put upon.
    """

    metric: str
    better: Mapping[str, Setting]
    worse: Mapping[str, Setting]
    arms: tuple[str, str]


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
