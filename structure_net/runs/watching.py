"""What a run tells while it goes: the interface of a progress display."""

from __future__ import annotations

from collections.abc import Mapping

from structure_net.evolution import Event, EventKind
from structure_net.runs.summary import IterationSummary, Score


class Watcher:
    """Is told what happens in a run; every method does nothing until a subclass overrides it."""

    def began(self, headline: str, *, epochs: int | None, done: int) -> None:
        """The run starts or goes on: ``done`` of ``epochs`` (None: unknown) are behind it."""

    def step(self, batch: int, *, of: int | None) -> None:
        """Batch ``batch`` (from 1) of the current epoch is over; ``of`` None: their number is
        unknown.
        """

    def epoch(self, number: int, metrics: Mapping[str, float]) -> None:
        """Epoch ``number`` (counted from 1 over the whole run) is over."""

    @property
    def hears_steps(self) -> bool:
        """Whether `step` does anything; a run need not tell of its steps where it does not."""
        return True

    def training(self, event: Event) -> None:
        """An event of a system; those of steps and epochs are told on."""
        if event.kind is EventKind.STEP_FINISHED:
            self.step(event.detail["batch"], of=event.detail["batches"])
        elif event.kind is EventKind.EPOCH_FINISHED:
            record = event.detail["record"]
            self.epoch(record.epoch, record.metrics)

    def iteration(self, summary: IterationSummary, *, of: int) -> None:
        """An iteration is over and saved."""

    def comparing(self, name: str, *, epochs: int | None) -> None:
        """A network to compare with begins its training."""

    def scored(self, scores: tuple[Score, ...]) -> None:
        """The final numbers are known."""
