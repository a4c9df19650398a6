"""What a report says, read from the archive in one pass for each hypothesis.

Nothing is asked of a lab that runs: another process may report while it does. Of trials only their
numbers are held; curves and events only of the first seeds, which is what a picture can show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from neural_architecture_lab.insights.reading import Table, Tried, averaged, tried_of
from neural_architecture_lab.reviewing import Review, review
from neural_architecture_lab.store import Archive, Frozen, deviations

MOST_SHOWN: Final = 24
"""Curves and events are kept of seeds below this."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What pictures show of a trial beside its numbers.

    Args:
        arm: Which arm.
        seed: Which seed.
        curves: One value an epoch, by name.
        events: Epoch and words.
    """

    arm: str
    seed: int
    curves: Mapping[str, Sequence[float]]
    events: Sequence[tuple[float, str]]


@dataclass(frozen=True, slots=True)
class Section:
    """All that a report says of one hypothesis.

    Args:
        review: Its statement, evidence and verdict.
        tried: Its trials, each as it ended last.
        shown: Curves and events of the first seeds, at the first point of the factors.
        deviations: What was changed since it was first frozen, in words.
        first: When and under which hash it was first frozen.
        how: What ran the trials and why, as stored with the last judgement.
        judged: The verdict that was stored with it; empty where there is none yet.
    """

    review: Review
    tried: tuple[Tried, ...]
    shown: tuple[Shown, ...]
    deviations: tuple[str, ...]
    first: Frozen
    how: Mapping[str, str]
    judged: str

    @property
    def arms(self) -> tuple[str, ...]:
        """The names of the arms, the control first."""
        statement = self.review.frozen.statement
        control = str(statement["control"])
        return (control, *(arm for arm in statement["arms"] if arm != control))

    @property
    def points(self) -> int:
        """How many points of the factors each seed has."""
        return len(self.review.frozen.statement["points"])

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of what was measured: what is predicted first, then the rest by name."""
        predicted = [said["metric"] for said in self.review.frozen.statement["predictions"]]
        others = sorted({name for trial in self.tried for name in trial.metrics})
        return tuple(dict.fromkeys((*predicted, *others)))

    def values(self, metric: str) -> Table:
        """A metric by arm and seed, averaged over the points; only seeds that have all of them."""
        return averaged(self.tried, metric, self.points)


def gather(archive: Archive, ids: Sequence[str] | None = None) -> tuple[Section, ...]:
    """What there is to report of hypotheses, judged together.

    Args:
        archive: Where they are.
        ids: Which; all that were ever frozen if None.

    Raises:
        StoreError: One of them was never frozen, or the archive cannot be read.
    """
    forms = archive.forms()
    wanted = list(forms) if ids is None else list(ids)
    reviews = review(archive, wanted)
    return tuple(_section(archive, reviews[one], forms[one]) for one in wanted)


def _section(archive: Archive, reviewed: Review, forms: Sequence[Frozen]) -> Section:
    one = reviewed.frozen.id
    whole = [item for item in archive.evidence(one) if item.prediction is None]
    tried: dict[str, Tried] = {}
    shown: dict[str, Shown] = {}
    for trial in archive.trials(one):
        tried[trial.trial] = tried_of(trial)
        if trial.seed < MOST_SHOWN and trial.point == 0:
            shown[trial.trial] = Shown(trial.arm, trial.seed, trial.curves, trial.events)
    changed = [
        line
        for before, after in pairwise(forms)
        for line in deviations(before.statement, after.statement)
    ]
    return Section(
        reviewed,
        tuple(tried.values()),
        tuple(shown.values()),
        tuple(changed),
        forms[0],
        {name: str(said) for name, said in whole[-1].statistics.items()} if whole else {},
        whole[-1].verdict if whole else "",
    )
