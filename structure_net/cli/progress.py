"""The live display of a run: one line for each iteration, and a bar where there is a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from structure_net.cli.console import score_table
from structure_net.runs.summary import IterationSummary, Score, iteration_line
from structure_net.runs.watching import Watcher

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


class LiveWatcher(Watcher):
    """Prints to ``console``; moves ``bar`` where there is one."""

    def __init__(self, console: Console, bar: Progress | None) -> None:
        self._console = console
        self._bar = bar
        self._task: TaskID | None = None
        self._epochs = 0

    def began(self, headline: str, *, epochs: int | None, done: int) -> None:
        """Says what starts."""
        self._say(headline)
        self._restart("evolving", epochs, done)

    @property
    def hears_steps(self) -> bool:
        """Whether there is a bar to move."""
        return self._bar is not None

    def step(self, batch: int, *, of: int | None) -> None:
        """Moves the bar within the epoch, by at most a hundredth of it at a time."""
        if self._bar is None or self._task is None or not of or batch % max(1, of // 100):
            return
        self._bar.update(self._task, completed=self._epochs + min(batch / of, 1.0))

    def epoch(self, number: int, metrics: Mapping[str, float]) -> None:
        """Moves the bar and shows the newest accuracies, or losses, in it."""
        self._epochs = number
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=number, note=_note(metrics))

    def iteration(self, summary: IterationSummary, *, of: int) -> None:
        """Prints the iteration's line."""
        self._say(iteration_line(summary, of=of))

    def comparing(self, name: str, *, epochs: int | None) -> None:
        """Says what is trained now."""
        self._say(f"for comparison: training the {name}")
        self._restart("comparing", epochs, 0)

    def scored(self, scores: tuple[Score, ...]) -> None:
        """Prints the final numbers side by side."""
        self._console.print(score_table(scores))

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, markup=False, highlight=False)

    def _restart(self, name: str, epochs: int | None, done: int) -> None:
        if self._bar is None:
            return
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._epochs = done
        self._task = self._bar.add_task(
            name, total=epochs, completed=done, of=epochs or "?", note=""
        )


def _note(metrics: Mapping[str, float]) -> str:
    """The newest accuracies; the newest losses where no accuracy is measured."""
    parts = ("train", "validation")
    accuracies = [
        f"{p} {metrics[f'{p}_accuracy']:.3f}" for p in parts if f"{p}_accuracy" in metrics
    ]
    losses = [f"{p} loss {metrics[f'{p}_loss']:.3f}" for p in parts if f"{p}_loss" in metrics]
    return "  ".join(accuracies or losses)


@contextmanager
def live_display(console: Console) -> Iterator[LiveWatcher]:
    """A watcher that shows a bar while the block runs, if ``console`` is a terminal."""
    if not console.is_terminal:
        yield LiveWatcher(console, None)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.2f}/{task.fields[of]} epochs"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield LiveWatcher(console, bar)
