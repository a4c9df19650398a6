"""The bar of a run moves within an epoch, never back, and ends where the epochs end."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from structure_net.cli.progress import LiveWatcher, live_display
from structure_net.evolution import Event, EventKind
from structure_net.evolution.history import EpochRecord
from structure_net.runs.watching import Watcher


def epoch_over(number: int) -> Event:
    record = EpochRecord(number, 0, 8 * number, {"train_loss": 0.5}, 1, 1, 0.1, 0.1)
    return Event(EventKind.EPOCH_FINISHED, 0, detail={"record": record})


def step_over(batch: int, batches: int | None) -> Event:
    return Event(EventKind.STEP_FINISHED, 0, detail={"batch": batch, "batches": batches})


@pytest.mark.parametrize("batches", [8, 1000])
def test_the_bar_moves_with_the_batches_of_an_epoch(batches: int) -> None:
    bar = Progress(console=Console(file=io.StringIO()))
    watcher = LiveWatcher(Console(file=io.StringIO()), bar)
    watcher.began("a run", epochs=3, done=1)
    places = []
    for batch in range(1, batches + 1):
        watcher.training(step_over(batch, batches))
        places.append(bar.tasks[0].completed)
    assert places == sorted(places)
    assert len({1.0, *places}) == min(batches, 100) + 1
    assert places[-1] == 2.0
    watcher.training(epoch_over(2))
    assert bar.tasks[0].completed == 2.0


def test_a_loader_without_a_length_moves_the_bar_by_epochs() -> None:
    bar = Progress(console=Console(file=io.StringIO()))
    watcher = LiveWatcher(Console(file=io.StringIO()), bar)
    watcher.began("a run", epochs=None, done=0)
    watcher.training(step_over(5, None))
    assert bar.tasks[0].completed == 0
    watcher.training(epoch_over(1))
    assert bar.tasks[0].completed == 1


def test_without_a_terminal_steps_print_nothing() -> None:
    out = io.StringIO()
    with live_display(Console(file=out)) as watcher:
        watcher.training(step_over(1, 2))
    assert out.getvalue() == ""
    Watcher().step(1, of=2)


def test_a_terminal_shows_parts_of_epochs() -> None:
    out = io.StringIO()
    with live_display(Console(file=out, force_terminal=True, width=100)) as watcher:
        watcher.began("a run", epochs=4, done=0)
        watcher.training(step_over(1, 4))
    assert "0.25/4 epochs" in out.getvalue()
    assert "a run" in out.getvalue()
