"""Records: what kills lose, and how fast the spool is."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import Figure, seconds
from structure_net.logging import Spool, read
from structure_net.logging.records import Epoch

KILLS, RECORDS = 100, 20_000


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


def kill_once(
    folder: Path, after: float, write: Callable[[Path, int], None] = _write_until_killed
) -> int:
    """Kills a writer ``after`` seconds behind its first record; the last number it told of.

    ``write`` is handed the folder and the pipe on which it tells, a number in a line, and never
    returns.
    """
    told, channel = os.pipe()
    process = os.fork()
    if not process:
        os.close(told)
        write(folder, channel)
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


def figures() -> list[Figure]:
    """Kills and rates."""
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
    ]
