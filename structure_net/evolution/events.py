"""What happens in a run, told to whoever watches it (a progress display, a log, a test)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class EventKind(Enum):
    """What happened. The detail that comes with each kind stands beside it."""

    ITERATION_STARTED = "iteration_started"  # iterations: how many this call runs
    ANALYZED = "analyzed"  # analysis: the merged mapping; epoch, step: how many were behind
    EDITED = "edited"  # edit, reason, trigger, seed, changes, measured: by the acceptance policy
    GREW_BY_HAND = "grew_by_hand"  # trigger, before, after: architectures, measured
    REJECTED = "rejected"  # edits, reasons, trigger, and what the acceptance policy measured
    STEP_FINISHED = "step_finished"  # batch: of its epoch, from 1; batches: in an epoch, or None
    EPOCH_FINISHED = "epoch_finished"  # record: the EpochRecord
    ITERATION_FINISHED = "iteration_finished"  # context to go on from, seconds, stats
    INTERRUPTED = "interrupted"  # context: consistent, training goes on from it
    DIVERGED = "diverged"  # context: the last good one, message
    PROFILED = "profiled"  # costs: the Costs, findings: bottlenecks in words


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Args:
        kind: What.
        iteration: In which iteration, from 0.
        component: The class name of the component that did it; empty for the system itself.
        detail: See `EventKind`.
    """

    kind: EventKind
    iteration: int
    component: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


Observer = Callable[[Event], None]
"""Is told of events. Where it has an attribute ``hears_steps`` that is false, it need not be told
of a step, so that a run loses no time with it."""


def hears_steps(observer: Observer | None) -> bool:
    """Whether an observer wants to be told of the step that was just taken."""
    return observer is not None and bool(getattr(observer, "hears_steps", True))


class Observers:
    """Several observers as one: each is told in turn.

    Args:
        observers: In the order in which they are told.
    """

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    @property
    def hears_steps(self) -> bool:
        """Whether one of them wants to be told of the step that was just taken."""
        return any(map(hears_steps, self._observers))

    def __call__(self, event: Event) -> None:
        """Tells all of them."""
        for observer in self._observers:
            observer(event)
