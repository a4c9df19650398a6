"""What is known of a search, read from the store; Optuna is not needed for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from neural_architecture_lab.errors import SearchError, StoreError
from neural_architecture_lab.searching.search import Better
from neural_architecture_lab.statistics import pareto_front
from neural_architecture_lab.store import Archive

State: TypeAlias = Literal["asked", "complete", "pruned", "failed"]


@dataclass(frozen=True, slots=True)
class Try:
    """One setting that a search tried.

    Args:
        number: Which, from 0; its trials have it as their point.
        params: What was chosen, by name.
        settings: What the experiment was told.
        state: How it ended; ``"asked"`` where it has not.
        values: The objectives in their order, means over the seeds; of a pruned one those that the
            pruner saw last. Empty where there are none.
        reason: Why it ended so, where there is something to say.
    """

    number: int
    params: Mapping[str, Any]
    settings: Mapping[str, Any]
    state: State
    values: tuple[float, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Searched:
    """A search and what came of it so far.

    Args:
        id: The search's id.
        name: Its name.
        question: What is asked, in words.
        objectives: Which metrics count, and which direction is better.
        planned: How many settings are to be tried.
        seeds: With how many seeds each.
        digest: The hash of what was fixed.
        statement: What was hashed, as plain data.
        changed: What was changed since it was begun, in words.
        tries: Every setting, by number.
        trials: How many trials ended.
        failed: How many of them ended badly.
        seconds: What all of them took together.
    """

    id: str
    name: str
    question: str
    objectives: Mapping[str, Better]
    planned: int
    seeds: int
    digest: str
    statement: Mapping[str, Any]
    changed: tuple[str, ...]
    tries: tuple[Try, ...]
    trials: int
    failed: int
    seconds: float

    def __repr__(self) -> str:
        done = len(self.tries) - self.ended("asked")
        return f"Searched({self.id!r}: {done} of {self.planned} settings)"

    @property
    def front(self) -> tuple[Try, ...]:
        """The settings that none beats: the best, or the Pareto front of several objectives."""
        done = [one for one in self.tries if one.state == "complete" and _finite(one)]
        if not done:
            return ()
        ways = [_WAYS[way] for way in self.objectives.values()]
        kept = pareto_front([one.values for one in done], ways)
        return tuple(one for one, best in zip(done, kept, strict=True) if best)

    @property
    def best(self) -> Try:
        """The setting that did best; of equal ones the first.

        Raises:
            SearchError: No setting was tried to its end, or there are several objectives.
        """
        if len(self.objectives) > 1:
            raise SearchError(
                f"{self.name!r} has several objectives, so that no setting is the best; `front`"
                " holds those that none beats."
            )
        if not self.front:
            reasons = [one.reason for one in self.tries if one.state == "failed"]
            first = f" The first that failed: {reasons[0]}." if reasons else ""
            raise SearchError(f"No setting of {self.name!r} was tried to its end.{first}")
        return self.front[0]

    def ended(self, state: State) -> int:
        """How many settings ended so."""
        return sum(one.state == state for one in self.tries)


_WAYS: Mapping[Better, Literal["max", "min"]] = {"higher": "max", "lower": "min"}


def _finite(one: Try) -> bool:
    return all(map(math.isfinite, one.values))


def searched(archive: Archive, search: str) -> Searched:
    """What is known of a search by now.

    Args:
        archive: Where it is.
        search: Its id.

    Raises:
        StoreError: There is none of that name, or the archive cannot be read.
    """
    begun = archive.searches()
    if search not in begun:
        known = ", ".join(begun) or "none"
        raise StoreError(f"There is no search {search!r} in {archive.folder}; there are {known}.")
    record = begun[search]
    trials = failed = 0
    seconds = 0.0
    for trial in archive.trials(search):
        trials += 1
        failed += trial.status != "finished"
        seconds += trial.seconds
    return Searched(
        record.search,
        record.name,
        record.question,
        record.objectives,
        record.tries,
        len(record.seeds),
        record.digest or "",
        record.statement,
        record.changed,
        _tries(archive, search),
        trials,
        failed,
        seconds,
    )


def _tries(archive: Archive, search: str) -> tuple[Try, ...]:
    found: dict[int, Try] = {}
    for event in archive.settings(search):
        if event.status == "asked":
            found[event.number] = Try(event.number, event.params, event.settings, "asked")
            continue
        before = found[event.number]
        state: State = "asked" if event.status == "reported" else event.status
        found[event.number] = Try(
            event.number, before.params, before.settings, state, event.values, event.reason
        )
    return tuple(found[number] for number in sorted(found))
