"""What happens in a run, told to whoever watches it (a progress display, a log, a test)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class EventKind(Enum):
    """What happened. The detail that comes with each kind stands beside it."""

    ITERATION_STARTED = "iteration_started"  # iterations: how many this call runs
    ANALYZED = "analyzed"  # analysis: the merged mapping
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
