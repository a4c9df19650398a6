"""What opening a mapped data set costs, and what processes hold that read the same one."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from time import process_time

from benchmarks.harness import Figure, interleaved, seconds
from structure_net.data import Dataset, load_dataset
from structure_net.errors import DatasetError

PROCESSES, BATCH = 4, 128
_MIB = 1024
_ROLLUP = Path("/proc/self/smaps_rollup")


def _held() -> dict[str, float]:
    """PSS and RSS of this process, in MiB."""
    found = dict(line.split(":", 1) for line in _ROLLUP.read_text().splitlines()[1:])
    return {key: int(found[key].split()[0]) / _MIB for key in ("Pss", "Rss")}


def _read(name: str, seed: int, mapped: bool, pipe: Connection) -> None:
    before = _held()["Rss"]
    data = load_dataset(name, seed=seed, mapped=mapped)
    for _ in data.train.batches(BATCH, shuffle=True, seed=seed):
        pass
    pipe.send(("ready", before))
    pipe.recv()  # measured while all hold what they read
    pipe.send(("held", _held()))
    pipe.recv()
    pipe.close()


def proportional(name: str, *, mapped: bool) -> float:
    """The PSS of four processes together, each of another seed, after an epoch each, in MiB."""
    context = multiprocessing.get_context("spawn")
    pipes, running = [], []
    for seed in range(PROCESSES):
        ours, theirs = context.Pipe()
        process = context.Process(target=_read, args=(name, seed, mapped, theirs))
        process.start()
        theirs.close()  # so that a process that ends too early is an error here, and no long wait
        pipes.append(ours)
        running.append(process)
    for message in (None, "measure", "end"):
        if message is not None:
            for pipe in pipes:
                pipe.send(message)
        if message != "end":
            answers = [pipe.recv()[1] for pipe in pipes]
    for process in running:
        process.join()
    return float(sum(one["Pss"] for one in answers))


def opening(name: str, *, mapped: bool) -> float:
    """Seconds of a processor that a data set takes to load or to open."""
    spent = []
    for _ in range(5):
        start = process_time()
        load_dataset(name, mapped=mapped)
        spent.append(process_time() - start)
    return median(spent)


def figures() -> list[Figure]:
    """Memory and time of mapped MNIST; nothing where STRUCTURE_NET_DATA holds none."""
    try:
        held, mapped = load_dataset("mnist", mapped=False), load_dataset("mnist", mapped=True)
    except DatasetError:
        return []
    opened = {way: 1000 * opening("mnist", mapped=way) for way in (False, True)}
    memory = {way: proportional("mnist", mapped=way) for way in (False, True)}
    small = proportional("digits", mapped=False)
    times = interleaved(
        {
            "held": lambda: seconds(lambda: epoch(held)),
            "mapped": lambda: seconds(lambda: epoch(mapped)),
        },
        repeats=5,
    )
    spent = f"the processor's time; {opened[False]:.0f} ms where it is loaded into memory"
    how = f"{PROCESSES} processes with other seeds, an epoch each; digits as the ground"
    return [
        Figure("opening mapped MNIST", opened[True], "ms", 50, spent),
        Figure("MNIST in memory: PSS of 4 processes", memory[False] - small, "MiB", None, how),
        Figure("MNIST mapped: PSS of 4 processes", memory[True] - small, "MiB", None, how),
        Figure(
            "an epoch of batches, mapped over in memory",
            times["mapped"] / times["held"],
            "x",
            None,
            f"54,000 samples in batches of {BATCH}; {1000 * times['mapped']:.0f} ms mapped",
        ),
    ]


def epoch(data: Dataset) -> None:
    """One epoch of batches, of which nothing is kept."""
    for _ in data.train.batches(BATCH, shuffle=True):
        pass
