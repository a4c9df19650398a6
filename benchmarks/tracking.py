"""The queue to W&B under faults, and what W&B's client costs a run.

The server is a stub on the loopback; the client is W&B's own.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.harness import Figure
from benchmarks.records import epoch
from structure_net.logging import RecordStream, Spool, blob_path, read
from structure_net.logging.sending import Sender, WandbDestination
from structure_net.logging.sinks import WandbSink, WandbTarget
from tests.structure_net.logging.recorded import start, write_run
from tests.structure_net.logging.stub_server import Stub, serving, wait_for

ROWS, KILLS, REPLAYS = 2000, 3, 2
DEADLINE, LIMIT = 8.0, 30.0

_SENDER = """
import sys
from structure_net.logging.sending import Sender, WandbDestination
from structure_net.logging.sinks import WandbTarget
Sender(sys.argv[1], WandbDestination(WandbTarget(base_url=sys.argv[2])), batch=500).drain()
"""


def _drained(folder: Path, stub: Stub, deadline: float = 240.0) -> Sender:
    target = WandbTarget(base_url=stub.url)
    sender = Sender(folder, WandbDestination(target, settling=1.0), attempts=1)
    sender.drain(deadline=deadline)
    return sender


def killed(folder: Path, stub: Stub, seed: int = 0) -> tuple[int, int, int]:
    """Kills senders at random moments, then sends everything again and again.

    Returns:
        Records, rows at the server, unique steps among them.
    """
    last = write_run(folder, epochs=ROWS, artifacts=False)
    draw = random.Random(seed)
    words = [sys.executable, "-c", _SENDER, str(folder), stub.url]
    for _ in range(KILLS):
        before = stub.requests["POST file_stream"]
        with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
            wait_for(lambda before=before: stub.requests["POST file_stream"] > before, 120)
            time.sleep(draw.uniform(0.0, 1.0))  # killed at any moment
            process.send_signal(signal.SIGKILL)
    for _ in range(REPLAYS):
        (folder / "sync.json").unlink(missing_ok=True)
        _drained(folder, stub)
    (run,) = stub.state.runs.values()
    return last, len(run.steps), len(set(run.steps))


def _deliveries() -> list[Figure]:
    with serving() as stub, tempfile.TemporaryDirectory() as name:
        count, rows, unique = killed(Path(name), stub)
    how = f"{count:,} records, {KILLS} senders killed, then {REPLAYS} full replays"
    return [
        Figure("records that are missing at the server", count - unique, "", 0, how),
        Figure("rows that came more than once", rows - unique, "", 0, how),
    ]


def _outages() -> list[Figure]:
    found = []
    for how, word in (("refuses connections", ""), ("hangs", "graphql"), ("hangs", "file_stream")):
        with serving() as stub, tempfile.TemporaryDirectory() as name:
            last = write_run(Path(name), artifacts=False)
            stub.faults.hang = Counter({word: 9999} if word else {})
            target = WandbTarget(base_url=stub.url if word else "http://127.0.0.1:9")
            sender = Sender(name, WandbDestination(target))
            began = time.perf_counter()
            status = sender.drain(deadline=DEADLINE)
            spent = time.perf_counter() - began
            kept = last - status.pending + len(status.state.dead)
        what = f"the server {how}{' at ' + word if word else ''}"
        found += [
            Figure(f"drain returns: {what}", spent, "s", LIMIT, f"deadline {DEADLINE:.0f} s"),
            Figure("records that left the queue by it", kept, "", 0, what),
        ]
    return found


def _rejections() -> list[Figure]:
    with serving() as stub, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_run(folder)
        files = {one.data["name"]: one for one in read(folder) if one.kind == "artifact"}
        blob_path(folder, files["report.md"].data["digest"]).unlink()
        stub.faults.reject = {"evolution"}
        state = _drained(folder, stub).status().state
        dead = {letter.seq for letter in state.dead}
        wrong = {files[one].seq for one in ("report.md", "evolution.png")}
    how = "one blob deleted, one artifact refused; the rest arrived"
    return [
        Figure("missing or rejected artifacts acknowledged", len(wrong - dead), "", 0, how),
        Figure("records set aside besides", len(dead - wrong), "", 0, how),
    ]


def bereft(records: int = 400) -> tuple[int, int]:
    """A run whose tracker is killed in the middle.

    Returns:
        Records that are missing in its spool, and those that the tracker missed, as it tells.
    """
    sink = WandbSink(WandbTarget(mode="offline"))
    with tempfile.TemporaryDirectory() as place:
        stream = RecordStream(Spool(place), [sink], patience=60.0)
        stream.emit(start())
        stream.flush(60.0)
        for number in range(1, records + 1):
            if number == records // 2:
                stream.flush(60.0)
                assert sink.process is not None
                sink.process.kill()
            stream.emit(epoch(number))
        stream.close()
        kinds = Counter(one.kind for one in read(place))
        missed = sum(one.data["records"] for one in read(place) if one.kind == "missed")
    return records - kinds["epoch"], missed


def _bereavements() -> list[Figure]:
    lost, missed = bereft()
    how = f"W&B's client killed in the middle of 400 epochs; it missed {missed}, as the spool tells"
    return [Figure("records that a run lost with its tracker", lost, "", 0, how)]


def offline(records: int = 5000) -> list[Figure]:
    """Size of an offline run, and what its writing costs the run's own process."""
    spent, size = {}, 0
    for name in ("spool", "wandb"):
        with tempfile.TemporaryDirectory() as place:
            sink = WandbSink()
            stream = RecordStream(Spool(place), [sink] if name == "wandb" else [], patience=60.0)
            stream.emit(start())
            stream.flush(60.0)
            made = [epoch(number) for number in range(1, records + 1)]
            began = time.process_time()
            for record in made:
                stream.emit(record)
            stream.flush(120.0)
            spent[name] = 1e6 * (time.process_time() - began) / records
            stream.close()
            if sink.process is not None:
                sink.process.gone(60.0)
                (log,) = Path(place).glob("wandb/offline-run-*/*.wandb")
                size = log.stat().st_size
    how = f"{records:,} epochs of five metrics"
    cost = spent["wandb"] - spent["spool"]
    return [
        Figure("a W&B offline run, bytes a record", size / records, "B", None, how),
        Figure("CPU of the run's process for W&B, a record", cost, "us", None, how),
    ]


def figures() -> list[Figure]:
    """What arrives under faults."""
    os.environ.setdefault("WANDB_API_KEY", "k" * 40)
    return [*_deliveries(), *_outages(), *_rejections(), *_bereavements()]
