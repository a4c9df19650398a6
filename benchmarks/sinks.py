"""What recording costs a run: the spool alone, sinks that misbehave, and all sinks together."""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Callable

import torch
from rich.console import Console

from benchmarks.harness import Figure, Ratio, ratio_of, seconds
from benchmarks.tracking import offline
from structure_net import create_standard_network
from structure_net.data import load_dataset
from structure_net.evolution import NetworkContext
from structure_net.evolution.components import create_standard_evolution_system
from structure_net.evolution.events import Event, Observer
from structure_net.logging import RecordStream, Sink, Source, Spool, Stored
from structure_net.logging.records import RunStarted
from structure_net.logging.sinks import ConsoleSink, SeriesSink, TensorBoardSink, WandbSink
from structure_net.runs.recording import Recorder

DEMO = ([64, 96, 48, 10], 0.02)
MNIST = [784, 256, 128, 10]
REPEATS, RUNS, EPOCHS = 31, 3, 4


class Bad:
    """A sink that raises, blocks or ends its thread at every record, or does nothing.

    Args:
        how: Which of these.
    """

    def __init__(self, how: str) -> None:
        self.name = how

    def open(self, source: Source) -> None:
        """Nothing."""

    def write(self, stored: Stored) -> None:
        """Does harm."""
        if self.name == "raises":
            raise ValueError(stored.seq)
        if self.name == "blocks":
            time.sleep(3600)  # a sink that never comes back
        if self.name == "dies":
            raise SystemExit(1)

    def flush(self, deadline: float) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Timed:
    """Hands events to a recorder, and keeps the time.

    Args:
        recorder: Is told of what it wants to hear.
        clock: Tells seconds.
    """

    def __init__(self, recorder: Recorder, clock: Callable[[], float] = time.perf_counter) -> None:
        self._recorder, self._clock = recorder, clock
        self.spent = 0.0

    @property
    def hears_steps(self) -> bool:
        """As the recorder says."""
        return self._recorder.hears_steps

    def __call__(self, event: Event) -> None:
        """Tells it."""
        start = self._clock()
        self._recorder(event)
        self.spent += self._clock() - start


def evolve(observer: Observer) -> None:
    """The demonstration's evolution, two iterations of it."""
    data = load_dataset("digits").flattened()
    widths, density = DEMO
    network = create_standard_network(widths, density=density, seed=0)
    train = data.train.batches(64, shuffle=True)
    context = NetworkContext(network, train, validation_loader=data.validation.batches(64))
    system = create_standard_evolution_system(epochs=6)
    system.evolve_network(context, 2, on_event=observer)


def recorded(*sinks: Sink) -> float:
    """The evolution with its events spooled: the time it takes over the time without recording.

    Both are taken from one run, whose moods then hit both. Closing the stream is not counted, and
    neither is the thread that waits for the disk.
    """
    with tempfile.TemporaryDirectory() as folder:
        stream = RecordStream(Spool(folder), sinks, patience=0.0)
        observer = Timed(Recorder(stream))
        total = seconds(lambda: evolve(observer))
        stream.close()
    return total / (total - observer.spent)


def _recordings() -> list[Figure]:
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))]).step()
    words = {
        "": "recording",
        "raises": "recording with a sink that raises",
        "blocks": "recording with a sink that blocks",
        "dies": "recording with a sink whose thread ends",
    }
    found: dict[str, list[float]] = {how: [] for how in words}
    for _ in range(1 + REPEATS):
        for how, ratios in found.items():
            ratios.append(recorded(*[Bad(how)] * bool(how)))
    note = "digits, 64-96-48-10 at density 0.02, two iterations of six epochs; "
    return [
        _figure(f"added to a run by {said}", ratio_of(found[how][1:]), 2.0, note)
        for how, said in words.items()
    ]


def _figure(name: str, ratio: Ratio, goal: float, note: str) -> Figure:
    return Figure(name, 100 * (ratio.median - 1), "%", goal, note + ratio.percent())


def trained(sinks: list[Sink]) -> float:
    """Eight epochs on MNIST with sinks: the processor's time over that without.

    Both are taken from one run: what the run's thread spends on recording and on closing, and what
    the sinks' threads compute, imports included, is what a run without would not spend.
    """
    data = load_dataset("mnist", data_dir=os.environ.get("STRUCTURE_NET_DATA")).flattened()
    network = create_standard_network(MNIST, density=0.1, seed=0)
    context = NetworkContext(
        network,
        data.train.batches(64, shuffle=True),
        validation_loader=data.validation.batches(512),
    )
    system = create_standard_evolution_system(epochs=EPOCHS)
    with tempfile.TemporaryDirectory() as folder:
        stream = RecordStream(Spool(folder), sinks, patience=10.0)
        observer = Timed(Recorder(stream), time.thread_time)
        start = time.process_time()
        named = RunStarted(run="r", name="r", program="bench", config={}, dataset={}, seed=0)
        stream.emit(named)
        system.evolve_network(context, 2, on_event=observer)
        closing = time.thread_time()
        stream.close()
        spent = observer.spent + time.thread_time() - closing
        whole = time.process_time() - start
    spent += sum(seconds for _, seconds in stream.sink_costs.values())
    return whole / (whole - spent)


def _all_sinks() -> list[Figure]:
    console = Console(file=io.StringIO())
    ratios = [
        trained([ConsoleSink(console), SeriesSink(), TensorBoardSink(), WandbSink()])
        for _ in range(RUNS)
    ]
    how = "784-256-128-10 on MNIST, density 0.1, two iterations of four epochs; spool, console, "
    how += "HDF5, TensorBoard, W&B offline; processor's time of the process; "
    first, *later = (100 * (ratio - 1) for ratio in ratios)
    how += f"{first:.2g} % with what is imported, {max(later):.2g} % later"
    return [Figure("added to a run by all sinks", max(first, *later), "%", 5.0, how)]


def figures() -> list[Figure]:
    """Ratios of runs with and without."""
    os.environ.setdefault("WANDB_API_KEY", "k" * 40)
    return [*_all_sinks(), *_recordings(), *offline()]
