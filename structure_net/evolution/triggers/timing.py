"""Triggers that count: epochs, steps, samples, growths and parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from structure_net.core.arguments import check_whole
from structure_net.errors import StructureNetError
from structure_net.evolution.triggers.interface import (
    SINCE,
    Progress,
    Trigger,
    Whose,
    check_whose,
)


@dataclass(frozen=True, slots=True)
class Cooldown(Trigger):
    """Due when at least ``epochs`` epochs and ``steps`` steps have passed since the last growth.

    A strategy that never grew the network counts from its birth. Combine it with another trigger
    by `All`.

    Args:
        epochs: Epochs.
        steps: Steps.
        of: Whose growth: the strategy's own, so that others do not silence it, or "all", so that
            no two strategies follow one another sooner.

    Raises:
        ValueError: A number is negative, or ``of`` is neither.
    """

    epochs: int = 0
    steps: int = 0
    of: Whose = "own"

    def __post_init__(self) -> None:
        check_whole(0, epochs=self.epochs)
        check_whole(0, steps=self.steps)
        check_whose(self.of)

    def due(self, progress: Progress) -> str | None:
        """See `Trigger.due`."""
        counted = progress.counted(self.of)
        epochs = progress.epoch - counted.growth_epoch
        steps = progress.step - counted.growth_step
        if epochs < self.epochs or steps < self.steps:
            return None
        return f"{epochs} epochs and {steps} steps {SINCE[self.of]}"


@dataclass(frozen=True, slots=True)
class EveryNSteps(Trigger):
    """Due after every ``n``-th optimizer step of the network's life, once enough was seen.

    Args:
        n: Steps.
        min_samples: Samples that must have been seen since the last growth. In a loop of one's own
            they are counted where it tells: ``session.after_step(loss, samples=len(inputs))``.
        of: Whose growth: the strategy's own, or that of "all".

    Raises:
        ValueError: ``n`` is below 1, ``min_samples`` negative, or ``of`` neither.
    """

    n: int
    min_samples: int = 0
    of: Whose = "own"
    every_step: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_whole(1, n=self.n)
        check_whole(0, min_samples=self.min_samples)
        check_whose(self.of)

    def due(self, progress: Progress) -> str | None:
        """See `Trigger.due`.

        Raises:
            StructureNetError: Samples are to be counted, and the loop does not tell of them.
        """
        if not progress.step or progress.step % self.n:
            return None
        if not self.min_samples:
            return f"step {progress.step}"
        samples = progress.counted(self.of).samples
        if samples is None:
            raise StructureNetError(
                f"EveryNSteps(min_samples={self.min_samples}) counts samples, of which this loop"
                " does not tell. Pass them: session.after_step(loss, samples=len(inputs)), or leave"
                " min_samples out."
            )
        if samples < self.min_samples:
            return None
        return f"step {progress.step}, {samples:,} samples {SINCE[self.of]}"


@dataclass(frozen=True, slots=True)
class EveryNEpochs(Trigger):
    """Due after every ``n``-th epoch of the network's life.

    Raises:
        ValueError: ``n`` is below 1.
    """

    n: int

    def __post_init__(self) -> None:
        check_whole(1, n=self.n)

    def due(self, progress: Progress) -> str | None:
        """See `Trigger.due`."""
        fired = progress.epoch > 0 and progress.epoch % self.n == 0
        return f"epoch {progress.epoch}" if fired else None


@dataclass(frozen=True, slots=True)
class MaxEvents(Trigger):
    """Due while there were less than ``n`` growths. Combine it with others by `All`.

    Args:
        n: How many.
        of: Whose growths: the strategy's own, or those of "all".

    Raises:
        ValueError: ``n`` is below 1, or ``of`` is neither.
    """

    n: int
    of: Whose = "own"

    def __post_init__(self) -> None:
        check_whole(1, n=self.n)
        check_whose(self.of)

    def due(self, progress: Progress) -> str | None:
        """See `Trigger.due`."""
        growths = progress.counted(self.of).growths
        return None if growths >= self.n else f"growth {growths + 1} of at most {self.n}"


@dataclass(frozen=True, slots=True)
class MaxParameters(Trigger):
    """Due while the network has less than ``limit`` live parameters. Combine it by `All`.

    The growth that it lets pass may lead beyond the limit.

    Raises:
        ValueError: ``limit`` is below 1.
    """

    limit: int

    def __post_init__(self) -> None:
        check_whole(1, limit=self.limit)

    def due(self, progress: Progress) -> str | None:
        """See `Trigger.due`."""
        if progress.parameters >= self.limit:
            return None
        return f"{progress.parameters:,} parameters are below {self.limit:,}"
