"""Triggers that count: epochs, steps, samples, growths and parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from structure_net.core.arguments import check_whole
from structure_net.errors import StructureNetError
from structure_net.evolution.triggers.interface import Progress, Trigger


@dataclass(frozen=True, slots=True)
class Cooldown(Trigger):
    """Due when at least ``epochs`` epochs and ``steps`` steps have passed since the last growth.

    A network that never grew counts from its birth. Combine it with another trigger by `All`.

    Raises:
        ValueError: A number is negative.
    """

    epochs: int = 0
    steps: int = 0

    def __post_init__(self) -> None:
        check_whole(0, epochs=self.epochs)
        check_whole(0, steps=self.steps)

    def due(self, progress: Progress) -> str | None:
        """See `Trigger.due`."""
        epochs = progress.epoch - progress.growth_epoch
        steps = progress.step - progress.growth_step
        if epochs < self.epochs or steps < self.steps:
            return None
        return f"{epochs} epochs and {steps} steps since the last growth"


@dataclass(frozen=True, slots=True)
class EveryNSteps(Trigger):
    """Due after every ``n``-th optimizer step of the network's life, once enough was seen.

    Args:
        n: Steps.
        min_samples: Samples that must have been seen since the last growth. In a loop of one's own
            they are counted where it tells: ``session.after_step(loss, samples=len(inputs))``.

    Raises:
        ValueError: ``n`` is below 1 or ``min_samples`` negative.
    """

    n: int
    min_samples: int = 0
    every_step: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_whole(1, n=self.n)
        check_whole(0, min_samples=self.min_samples)

    def due(self, progress: Progress) -> str | None:
        """See `Trigger.due`.

        Raises:
            StructureNetError: Samples are to be counted, and the loop does not tell of them.
        """
        if not progress.step or progress.step % self.n:
            return None
        if not self.min_samples:
            return f"step {progress.step}"
        if progress.samples is None:
            raise StructureNetError(
                f"EveryNSteps(min_samples={self.min_samples}) counts samples, of which this loop"
                " does not tell. Pass them: session.after_step(loss, samples=len(inputs)), or leave"
                " min_samples out."
            )
        if progress.samples < self.min_samples:
            return None
        return f"step {progress.step}, {progress.samples:,} samples since the last growth"


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
    """Due while the network has grown less than ``n`` times. Combine it with others by `All`.

    Raises:
        ValueError: ``n`` is below 1.
    """

    n: int

    def __post_init__(self) -> None:
        check_whole(1, n=self.n)

    def due(self, progress: Progress) -> str | None:
        """See `Trigger.due`."""
        if progress.growths >= self.n:
            return None
        return f"growth {progress.growths + 1} of at most {self.n}"


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
