"""How far a lab is, told while it runs: a bar on a terminal, a line for each tenth elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from neural_architecture_lab.runners.protocol import Result, headline

if TYPE_CHECKING:
    from rich.console import Console

OnResult: TypeAlias = Callable[[Result, int, int], None]
"""Is told of each result, how many ended, and how many there are in all."""


@contextmanager
def progress_on(console: Console, what: str, of: int, unit: str = "trials") -> Iterator[OnResult]:
    """Tells of results while the block runs.

    Args:
        console: Where: a bar if it is a terminal, a line for each tenth else.
        what: What goes on.
        of: How many there are in all.
        unit: What is counted.
    """
    if not console.is_terminal:
        yield _lines(console, what, unit)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed
    from rich.progress import TimeRemainingColumn as Left

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (Elapsed(), TextColumn("so far,"), Left(), TextColumn("left"))
    # What an experiment prints goes above the bar on a terminal, and nowhere else than before.
    above = sys.stdout.isatty()
    bars = Progress(*columns, *times, console=console, transient=True, redirect_stdout=above)
    with bars as bar, _compilation_told(console):
        task = bar.add_task(what, total=of)
        shown = ""

        def tell(result: Result, ended: int, total: int) -> None:
            nonlocal shown
            if shown != result.trial.hypothesis:  # so that what ended earlier gives no speed
                shown = result.trial.hypothesis
                said = f"{what} {shown}"
                bar.reset(task, total=total, completed=max(ended - 1, 0), description=said)
            bar.update(task, completed=ended, total=total)
            _tell_failure(console, result)

        yield tell


@contextmanager
def _compilation_told(console: Console) -> Iterator[None]:
    """Says once why nothing seems to happen while kernels are compiled."""
    from structure_net.core.compilations import Compilation, watching_compilation

    said: list[str] = []

    def tell(compilation: Compilation) -> None:
        if not said:
            said.append("compiling kernels; this happens once on this machine.")
            console.print(*said, markup=False)

    with watching_compilation(tell):
        yield


@contextmanager
def progress_on_terminal(what: str, of: int, unit: str = "trials") -> Iterator[OnResult]:
    """Tells of results on standard error if it is a terminal, and nowhere else."""
    # A console costs an import, which a lab in a batch job need not pay.
    if not sys.stderr.isatty():
        yield _nothing
        return
    from rich.console import Console

    with progress_on(Console(stderr=True, highlight=False), what, of, unit) as tell:
        yield tell


def _nothing(result: Result, ended: int, of: int) -> None:
    """Tells nobody."""


def _lines(console: Console, what: str, unit: str) -> OnResult:
    def tell(result: Result, ended: int, of: int) -> None:
        if ended == of or ended * 10 // of > (ended - 1) * 10 // of:
            console.print(f"{what}: {ended} of {of} {unit}", markup=False)
        _tell_failure(console, result)

    return tell


def _tell_failure(console: Console, result: Result) -> None:
    if result.status != "finished":
        status, error = result.status.replace("_", " "), headline(result.error)
        said = f"{result.trial.id}: {status} {error}".strip()
        console.print(said, markup=False, soft_wrap=True)
