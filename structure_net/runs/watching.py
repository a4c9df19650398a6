"""What a run tells while it goes: the interface of a progress display."""

from __future__ import annotations

from collections.abc import Mapping

from structure_net.runs.summary import IterationSummary, Score


class Watcher:
    """Is told what happens in a run; every method does nothing until a subclass overrides it."""

    def began(self, headline: str, *, epochs: int | None, done: int) -> None:
        """The run starts or goes on: ``done`` of ``epochs`` (None: unknown) are behind it."""

    def epoch(self, number: int, metrics: Mapping[str, float]) -> None:
        """Epoch ``number`` (counted from 1 over the whole run) is over."""

    def iteration(self, summary: IterationSummary, *, of: int) -> None:
        """An iteration is over and saved."""

    def comparing(self, name: str, *, epochs: int | None) -> None:
        """A network to compare with begins its training."""

    def scored(self, scores: tuple[Score, ...]) -> None:
        """The final numbers are known."""
