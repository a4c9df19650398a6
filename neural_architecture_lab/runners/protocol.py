"""How trials are run: jobs in, results out as they end, whatever runs them.

A runner loses no trial: one that raises, hangs, fills memory or takes its process along comes back
as a result that says so, while the others go on.
"""

from __future__ import annotations

import re
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Final, Literal, Self, TypeAlias

from neural_architecture_lab.errors import LabError, OutOfTimeError, RunnerError
from neural_architecture_lab.hypothesis import Experiment
from neural_architecture_lab.outcomes import Outcome, outcome_of
from neural_architecture_lab.runners.isolating import isolated
from neural_architecture_lab.trials import Trial

Status: TypeAlias = Literal["finished", "failed", "timed_out", "out_of_memory", "lost"]
_OUT_OF_MEMORY: Final = ("can't allocate memory", "out of memory", "std::bad_alloc")


@dataclass(frozen=True, slots=True)
class Job:
    """A trial that is to be run.

    Args:
        trial: Which.
        experiment: What runs it; workers find it by module and name.
        device: Where, as torch writes it.
        attempt: Counted from 1.
    """

    trial: Trial
    experiment: Experiment
    device: str = "cpu"
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a job.

    Args:
        trial: Which.
        status: ``"failed"``: it raised. ``"lost"``: its process died.
        outcome: What it brought back; None unless finished.
        error: What went wrong: a line that says it (`headline`), then the last lines of the
            traceback.
        seconds: How long it ran.
        attempt: Which attempt it was, counted from 1.
        memory: The most memory that its process held, in MiB; None where nobody could tell.
    """

    trial: Trial
    status: Status
    outcome: Outcome | None = None
    error: str = ""
    seconds: float = 0.0
    attempt: int = 1
    memory: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one trial may take.

    Args:
        seconds: Wall-clock time; None for as long as it likes.
        memory: MiB beyond what its process has before it begins; None for any.
        retries: How often a trial is begun again whose process died. One that raises, hangs or
            fills memory would do so again.

    Raises:
        RunnerError: A limit is no positive number, or retries are no whole number from 0 on.
    """

    seconds: float | None = None
    memory: float | None = None
    retries: int = 1

    def __post_init__(self) -> None:
        for name in ("seconds", "memory"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and value > 0):
                raise RunnerError(f"{name} must be a number above 0, or None; got {value!r}.")
        if not isinstance(self.retries, int) or self.retries < 0:
            raise RunnerError(f"retries must be a whole number from 0 on; got {self.retries!r}.")


class Runner(ABC):
    """Runs jobs somewhere.

    Attributes:
        name: What it is called in records and reports.
    """

    name: str
    elsewhere: bool = False
    """Whether trials run on machines where other files may lie."""

    @abstractmethod
    def run(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """The results of ``jobs`` as they end, in any order: one for each.

        Jobs are taken as room comes free, so that they may be many. When the caller stops
        iterating, what has not begun is not begun.
        """

    def close(self) -> None:  # noqa: B027 - one without workers has nothing to let go of
        """Lets go of workers. A second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()


def carried_out(job: Job) -> Result:
    """Runs a job here and now; whatever it raises becomes part of the result.

    The experiment gets a trial of its own, so that what it writes there is not on record. The
    global generators begin at the trial's seed, and what it leaves behind is undone: see
    `isolated`.

    Raises:
        KeyboardInterrupt: It was interrupted.
    """

    def act() -> object:
        with isolated(job.trial.seed):
            return job.experiment(deepcopy(job.trial), device=job.device)

    return settled(job, act)


def settled(job: Job, action: Callable[[], object]) -> Result:
    """The result of a job whose outcome ``action`` returns; what it raises becomes part of it.

    Raises:
        KeyboardInterrupt: It was interrupted.
    """
    begun = time.perf_counter()
    status: Status = "finished"
    outcome, error = None, ""
    try:
        outcome = outcome_of(action())
    except BaseException as reason:  # the user's, and its failure a record
        if isinstance(reason, KeyboardInterrupt):
            raise
        status, error = _failure(reason)
    seconds = time.perf_counter() - begun
    return Result(job.trial, status, outcome, error, seconds, job.attempt)


def told_of(reason: BaseException) -> str:
    """An exception as the error of a result: its kind and words, then where it was raised."""
    trace = "".join(traceback.format_exception(reason, limit=-3))
    said = words_of(reason)
    return f"{type(reason).__name__}{': ' if said else ''}{said}\n\n{trace}"


def words_of(reason: BaseException) -> str:
    """What an exception says; empty where it cannot say anything."""
    try:
        return str(reason)
    except Exception:  # noqa: BLE001 - the user's own, which is broken itself
        return ""


def headline(error: str) -> str:
    """The line of an error that says what went wrong; empty of one that says nothing."""
    lines = error.strip().splitlines() or [""]
    if not lines[0].startswith("Traceback"):
        return lines[0]
    return re.sub(r"^(\w+\.)+(?=\w+(:|$))", "", lines[-1])  # as it was recorded formerly


def _failure(reason: BaseException) -> tuple[Status, str]:
    if isinstance(reason, LabError):
        return "timed_out" if isinstance(reason, OutOfTimeError) else "failed", words_of(reason)
    told = told_of(reason)
    # torch says so in a RuntimeError, whether the memory is the machine's or a device's.
    full = any(words in words_of(reason) for words in _OUT_OF_MEMORY)
    if isinstance(reason, MemoryError) or (isinstance(reason, RuntimeError) and full):
        return "out_of_memory", told
    return "failed", told
