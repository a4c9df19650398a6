"""From what is stored to what it means: the comparisons of a hypothesis, read back and judged.

A report, a resumed lab and a lab that has just run a hypothesis all come here, so that a verdict
depends on nothing but the stored trials and the statement that was frozen before them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neural_architecture_lab.errors import StoreError
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
from neural_architecture_lab.runners.protocol import headline
from neural_architecture_lab.statistics import group_sequential
from neural_architecture_lab.store import Archive, Frozen

if TYPE_CHECKING:
    from structure_net.logging.records import Trial as TrialRecord


@dataclass(frozen=True, slots=True)
class Review:
    """A hypothesis with all that is known of it by now.

    Args:
        frozen: What was said before the first trial.
        evidence: Its predictions, judged.
        verdict: That on the whole.
        reason: Why, in words.
        seeds: How many seeds are complete: every arm at every point ended, well or not.
        trials: How many trials ended.
        failed: How many of them ended badly.
        seconds: What all of them took together.
        family: How many predictions were judged together.
        failure: Which trial failed first and why, in a line; empty where none did.
    """

    frozen: Frozen
    evidence: tuple[Evidence, ...]
    verdict: Verdict
    reason: str
    seeds: int
    trials: int
    failed: int
    seconds: float
    family: int
    failure: str = ""

    def __repr__(self) -> str:
        seeds = f"{self.seeds} of {self.planned} seeds"
        return f"Review({self.frozen.id!r}: {self.verdict.upper()} after {seeds})"

    @property
    def planned(self) -> int:
        """How many seeds were planned."""
        return int(self.frozen.statement["seeds"])

    @property
    def stopped_early(self) -> bool:
        """Whether a planned look before the last one was the last to be taken."""
        return self.seeds < self.planned and self.verdict is not Verdict.INCONCLUSIVE


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a hypothesis is.

    Args:
        seeds: How many seeds are complete, counted from 0 without a gap.
        trials: How many trials ended.
        failed: How many of them ended badly.
        seconds: What all of them took together.
        failure: Which of them failed first and why, in a line; empty where none did.
    """

    seeds: int
    trials: int
    failed: int
    seconds: float
    failure: str = ""


def progress_of(archive: Archive, frozen: Frozen) -> Progress:
    """How far the trials of a frozen hypothesis are."""
    wanted = len(frozen.statement["arms"]) * len(frozen.statement["points"])
    last = {
        trial.trial: (trial.seed, trial.seconds, _failure(trial))
        for trial in archive.trials(frozen.id)
    }
    of_seed = Counter(seed for seed, _, _ in last.values())
    seconds = sum(seconds for _, seconds, _ in last.values())
    failures = [said for _, _, said in last.values() if said]
    seeds = 0
    while of_seed.get(seeds, 0) >= wanted:
        seeds += 1
    return Progress(seeds, len(last), len(failures), seconds, next(iter(failures), ""))


def _failure(trial: TrialRecord) -> str:
    if trial.status == "finished":
        return ""
    said = headline(trial.error)
    return f"{trial.trial} {trial.status.replace('_', ' ')}{': ' if said else ''}{said}"


def comparisons_of(archive: Archive, frozen: Frozen, seeds: int) -> tuple[Comparison, ...]:
    """The paired differences of each prediction, of the first ``seeds`` seeds."""
    statement = frozen.statement
    predictions = [_prediction(said) for said in statement["predictions"]]
    metrics = sorted({prediction.metric for prediction in predictions})
    table = archive.values(frozen.id, metrics, len(statement["points"]))
    looks = _looks(statement)
    found = []
    for prediction in predictions:
        arms = (str(prediction.arm), str(prediction.versus))
        treated, control = (
            {
                seed: value
                for seed, value in table[prediction.metric].get(arm, {}).items()
                if seed < seeds
            }
            for arm in arms
        )
        planned = int(statement["seeds"])
        found.append(
            compare(prediction, arms, treated, control, ran=seeds, planned=planned, looks=looks)
        )
    return tuple(found)


def review(archive: Archive, ids: Sequence[str]) -> dict[str, Review]:
    """Judges hypotheses together: the more there are, the more each of them has to show.

    Args:
        archive: Where they are.
        ids: Which; those that are judged together keep the smallest of their levels.

    Raises:
        StoreError: One was never frozen.
    """
    return dict(zip(ids, review_together([(archive, one) for one in ids]), strict=True))


def review_together(wanted: Sequence[tuple[Archive, str]]) -> tuple[Review, ...]:
    """Judges hypotheses of one archive or of several together.

    Args:
        wanted: Each hypothesis by its archive and its id.

    Returns:
        In the order given.

    Raises:
        StoreError: One was never frozen where it is looked for.
    """
    archives = {archive.folder: archive for archive, _ in wanted}
    forms = {folder: archive.hypotheses() for folder, archive in archives.items()}
    for archive, one in wanted:
        if one not in forms[archive.folder]:
            known = ", ".join(forms[archive.folder]) or "none"
            raise StoreError(f"There are no results of {one!r}; there are of {known}.")
    frozen = [forms[archive.folder][one] for archive, one in wanted]
    far = [progress_of(one[0], form) for one, form in zip(wanted, frozen, strict=True)]
    compared = [
        comparisons_of(archive, form, progress.seeds)
        for (archive, _), form, progress in zip(wanted, frozen, far, strict=True)
    ]
    alpha = min((float(form.statement["alpha"]) for form in frozen), default=0.05)
    power = max((float(form.statement["power"]) for form in frozen), default=0.8)
    judged = iter(judge([c for found in compared for c in found], alpha=alpha, power=power))
    family = sum(map(len, compared))
    reviews = []
    for form, progress, found in zip(frozen, far, compared, strict=True):
        evidence = tuple(next(judged) for _ in found)
        reviews.append(
            Review(
                form,
                evidence,
                *overall(evidence),
                progress.seeds,
                progress.trials,
                progress.failed,
                progress.seconds,
                family,
                progress.failure,
            )
        )
    return tuple(reviews)


def _prediction(said: Mapping[str, Any]) -> Prediction:
    arm, versus = said["arms"]
    return Prediction(said["metric"], said["direction"], said["smallest_effect"], arm, versus)


def _looks(statement: Mapping[str, Any]) -> Looks | None:
    looks = [int(look) for look in statement["looks"]]
    if len(looks) < 2:
        return None
    spending = statement["spending"]
    boundary = group_sequential(looks, alpha=float(statement["alpha"]), spending=spending)
    return Looks(boundary, spending)
