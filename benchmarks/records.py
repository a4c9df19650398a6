"""Records: what kills lose, how fast the spool is, what sinks and spooling cost a run."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.harness import Figure, interleaved, seconds
from structure_net import create_standard_network
from structure_net.data import load_dataset
from structure_net.evolution import NetworkContext
from structure_net.evolution.components import create_standard_evolution_system
from structure_net.evolution.events import Event, Observer
from structure_net.logging import RecordStream, Sink, Source, Spool, Stored, read
from structure_net.logging.records import Epoch
from structure_net.runs.recording import Recorder

KILLS, RECORDS = 100, 20_000
DEMO = ([64, 96, 48, 10], 0.02)


def epoch(number: int) -> Epoch:
    """A record of the usual size."""
    metrics = {
        "train_loss": 0.25,
        "train_accuracy": 0.9,
        "validation_loss": 0.3,
        "validation_accuracy": 0.88,
        "learning_rate": 0.01,
    }
    return Epoch(
        epoch=number, step=number, metrics=metrics, parameters=1000, connections=900, samples=number
    )


def _write_until_killed(folder: Path, channel: int) -> None:
    """Writes records, telling of each once `append` has returned."""
    try:
        spool = Spool(folder)
        while True:
            os.write(channel, b"%d\n" % spool.append(epoch(spool.last + 1)).seq)
    finally:
        os._exit(1)


def kill_once(folder: Path, after: float) -> int:
    """Kills a writer ``after`` seconds behind its first record; the last number it told of."""
    told, channel = os.pipe()
    process = os.fork()
    if not process:
        os.close(told)
        _write_until_killed(folder, channel)
    os.close(channel)
    with os.fdopen(told, "rb") as lines:
        last = int(lines.readline())
        time.sleep(after)  # killed at any moment
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        for line in lines:
            last = int(line) if line.endswith(b"\n") else last
    return last


def killed(folder: Path, kills: int = KILLS, seed: int = 0) -> tuple[int, int, int]:
    """One spool whose writer is killed again and again at random moments.

    Returns:
        Records in it, acknowledged records that are lost, gaps and duplicates.
    """
    draw = random.Random(seed)
    lost = 0
    for _ in range(kills):
        told = kill_once(folder, draw.uniform(0.0, 0.05))
        with Spool(folder) as spool:
            lost += max(0, told - spool.last)
    problems: list[object] = []
    count = sum(1 for _ in read(folder, on_damage=problems.append))
    return count, lost, len(problems)


def spooled(durable: str, records: int) -> float:
    """Seconds to write records and have them on the disk."""
    with tempfile.TemporaryDirectory() as folder:
        made = [epoch(number) for number in range(1, records + 1)]
        spool = Spool(folder, durable=durable)  # type: ignore[arg-type]  # one of the two

        def write() -> None:
            for record in made:
                spool.append(record)
            spool.flush()

        spent = seconds(write)
        spool.close()
        return spent


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
    spent = 0.0
    with tempfile.TemporaryDirectory() as folder:
        stream = RecordStream(Spool(folder), sinks, patience=0.0)
        recorder = Recorder(stream)

        def observe(event: Event) -> None:
            nonlocal spent
            spent += seconds(lambda: recorder(event))

        total = seconds(lambda: evolve(observe))
        stream.close()
    return total / (total - spent)


def _costs() -> list[Figure]:
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))]).step()
    words = {
        "": "recording",
        "raises": "recording with a sink that raises",
        "blocks": "recording with a sink that blocks",
        "dies": "recording with a sink whose thread ends",
    }
    ratios = interleaved(
        {how: lambda how=how: recorded(*[Bad(how)] * bool(how)) for how in words},  # type: ignore[misc]  # bound now
        repeats=9,
    )
    note = "digits, 64-96-48-10 at density 0.02, two iterations of six epochs"
    return [
        Figure(f"a run {said}, over itself", ratios[how], "x", 1.02, note)
        for how, said in words.items()
    ]


def figures() -> list[Figure]:
    """Kills, rates and costs."""
    with tempfile.TemporaryDirectory() as folder:
        count, lost, problems = killed(Path(folder))
    how = f"{KILLS} writers of one spool killed at random moments; {count:,} records"
    group = 1e6 * spooled("group", RECORDS) / RECORDS
    single = 1e6 * spooled("record", RECORDS // 40) / (RECORDS // 40)
    return [
        Figure("acknowledged records lost", lost, "", 0, how),
        Figure("gaps, duplicates and damaged lines", problems, "", 0, how),
        Figure("a record on the disk, in groups", group, "us", 200, f"{1e6 / group:,.0f} a second"),
        Figure("a record on the disk, each", single, "us", None, f"{1e6 / single:,.0f} a second"),
        *_costs(),
    ]
