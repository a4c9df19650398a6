"""Time series in HDF5: speed by block, kills, and readers beside a writer."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.harness import Figure, interleaved, seconds
from benchmarks.records import kill_once
from structure_net.errors import SeriesError
from structure_net.logging import Source, Spool, read
from structure_net.logging.records import Epoch
from structure_net.logging.series import SERIES, Series, SeriesWriter, rebuild
from structure_net.logging.sinks import SeriesSink

ROOT = Path(__file__).resolve().parents[1]
ROWS = {1: 2_000, 64: 64_000, 256: 128_000, 1024: 256_000}
KILLS = 45
READER = """
import sys, time
from structure_net.logging.series import Series
reads = wrong = 0
until = time.monotonic() + float(sys.argv[2])
with Series(sys.argv[1]) as series:
    table = series["epoch"]
    while time.monotonic() < until:
        series.refresh()
        if len(table):
            values, seq = table.values(-500, columns=("a", "b")), table.seq(-500)
            reads += 1
            wrong += bool((values[:, 0] != seq).any() or (values[:, 1] != -seq).any())
print(reads, wrong)
"""


def figures() -> list[Figure]:
    """Rows a second, what 45 kills leave, and what a reader sees meanwhile."""
    return [*_speed(), *_kills(), *_reading()]


def _speed() -> list[Figure]:
    row = dict.fromkeys("abcdef", 0.5)

    def written(block: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            writer = SeriesWriter(Path(folder) / SERIES, tables=("epoch",), block=block)

            def append() -> None:
                for seq in range(ROWS[block]):
                    writer.append("epoch", seq, row)
                writer.flush()

            spent = seconds(append)
            writer.close()
            return spent

    found = interleaved(
        {str(block): lambda b=block: written(b) for block in ROWS},  # type: ignore[misc]  # bound now
        repeats=5,
    )
    return [
        Figure(
            f"a row of 6 values, blocks of {block}",
            1e6 * found[str(block)] / rows,
            "us",
            20 if block == 64 else None,
            f"{rows / found[str(block)]:,.0f} rows/s",
        )
        for block, rows in ROWS.items()
    ]


def _kills() -> list[Figure]:
    unreadable = lost = differ = 0
    for seed in range(KILLS):
        with tempfile.TemporaryDirectory() as folder:
            after = random.Random(seed).uniform(0, 0.5)
            last = kill_once(Path(folder), after, _write_until_killed)
            try:
                lost += max(0, last - _rows(Path(folder)))
            except SeriesError:
                unreadable += 1
            rebuild(folder)
            differ += _rows(Path(folder)) != sum(1 for _ in read(folder))
    note = f"{KILLS} writers killed with kill -9"
    return [
        Figure("unreadable files", unreadable, "", 0, note),
        Figure("rows acknowledged and lost", lost, "", 0, note),
        Figure("rebuilt files unlike their spool", differ, "", 0, note),
    ]


def _rows(folder: Path) -> int:
    """How many rows there are; each has to hold what was written to it."""
    with Series(folder / SERIES) as series:
        table = series["epoch"]
        seq, values = table.seq(), table.values(columns=("a", "b"))
    whole = np.array_equal(values, np.stack([seq, -seq], axis=1))
    if not whole or not np.array_equal(seq, np.arange(1, len(seq) + 1)):
        raise SeriesError(f"{folder} holds rows that nobody wrote.")
    return len(seq)


def _write_until_killed(folder: Path, channel: int) -> None:
    """Writes records and their rows, telling of every fiftieth once it is handed over."""
    try:
        spool, sink = Spool(folder), SeriesSink(block=64)
        sink.open(Source(folder, spool.last))
        for number in itertools.count(1):
            metrics = {"a": float(number), "b": -float(number)}
            made = Epoch(epoch=number, step=number, metrics=metrics, parameters=1, connections=1)
            stored = spool.append(made)
            sink.write(stored)
            if number % 50 == 0:
                sink.flush(1.0)
                os.write(channel, b"%d\n" % stored.seq)
    finally:
        os._exit(1)


def _reading() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / SERIES
        with SeriesWriter(path, tables=("epoch",), block=64) as writer:
            command = [sys.executable, "-c", READER, str(path), "5"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as reader:
                seq = 0
                while reader.poll() is None:
                    for _ in range(200):
                        seq += 1
                        writer.append("epoch", seq, {"a": seq, "b": -seq})
                assert reader.stdout is not None
                reads, wrong = map(int, reader.stdout.read().split())
    return [
        Figure(
            "inconsistent reads beside a writer", wrong, "", 0, f"of {reads:,}, while {seq:,} rows"
            " were written",
        )
    ]  # fmt: skip
