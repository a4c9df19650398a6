"""The queue and a server on the loopback that misbehaves; the client is W&B's own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from structure_net.errors import SpoolError, TrackingError
from structure_net.logging import Spool, blob_path, read
from structure_net.logging.records import Resumed
from structure_net.logging.sending import (
    Batch,
    DeadLetter,
    Destination,
    QueueState,
    Receipt,
    Sender,
    Status,
    WandbDestination,
    destinations,
    read_status,
)
from structure_net.logging.sending.sender import settled
from structure_net.logging.sinks import WandbTarget
from tests.structure_net.logging.recorded import RUN, epoch, start, write_run
from tests.structure_net.logging.stub_server import Stub, serving, wait_for

ROOT = Path(__file__).parents[3]
LONG = 280.0  # as good as no deadline: each sending begins a client, which takes seconds

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    with serving() as server:
        yield server


def to(stub: Stub) -> WandbDestination:
    return WandbDestination(WandbTarget(base_url=stub.url), settling=0.5)


def artifacts(stub: Stub) -> list[tuple[str, str]]:
    return sorted((one.type, one.run) for one in stub.state.artifacts if one.state == "COMMITTED")


def test_all_records_arrive_once_with_the_lineage_of_what_was_made(
    tmp_path: Path, stub: Stub
) -> None:
    last = write_run(tmp_path)
    done = Sender(tmp_path, to(stub)).drain(deadline=LONG)
    assert done.complete
    assert done.state.acknowledged == last
    run = stub.state.runs[RUN]
    assert run.steps == list(range(1, last + 1))
    assert (run.fields["groupName"], run.fields["jobType"]) == ("pyramids", "wide")
    assert run.summary["final/accuracy"] == 0.5
    report = f"{RUN}-report"
    kept = [one for one in artifacts(stub) if one[0] != "run_table"]
    assert kept == [("dataset", ""), ("model", RUN), ("plot", report), ("report", report)]
    used = {(who, stub.state.artifact(what).type) for who, what in stub.state.used}
    assert used == {(RUN, "dataset"), (report, "model")}


def test_sending_again_changes_nothing(tmp_path: Path, stub: Stub) -> None:
    last = write_run(tmp_path, artifacts=False)
    sender = Sender(tmp_path, to(stub))
    sender.drain(deadline=LONG)
    (tmp_path / "sync.json").unlink()
    assert sender.drain(deadline=LONG).complete
    assert stub.state.runs[RUN].steps == list(range(1, last + 1))


def test_what_comes_later_is_sent_later(tmp_path: Path, stub: Stub) -> None:
    write_run(tmp_path, artifacts=False)
    Sender(tmp_path, to(stub)).drain(deadline=LONG)
    with Spool(tmp_path) as spool:
        last = spool.append(epoch(7)).seq
    done = Sender(tmp_path, to(stub), batch=3).drain(deadline=LONG)
    assert done.complete
    assert stub.state.runs[RUN].steps == list(range(1, last + 1))


def test_a_server_that_fails_drops_and_answers_twice_gets_each_record_once(
    tmp_path: Path, stub: Stub
) -> None:
    last = write_run(tmp_path, epochs=20)
    stub.faults.fail = Counter({"file_stream": 1, "UpsertBucket": 1, "CommitArtifact": 1})
    stub.faults.drop = Counter({"file_stream": 1, "CreateArtifactFiles": 1})
    stub.faults.drop_after = Counter({"file_stream": 1, "CommitArtifact": 1})
    stub.faults.twice = Counter({"file_stream": 2, "CreateArtifact ": 1, "CommitArtifact": 1})
    done = Sender(tmp_path, to(stub)).drain(deadline=LONG)
    assert done.complete
    assert stub.state.runs[RUN].steps == list(range(1, last + 1))
    assert len([one for one in artifacts(stub) if one[0] != "run_table"]) == 4
    assert not +stub.faults.fail
    assert not +stub.faults.drop_after


@pytest.mark.parametrize("how", ["refuses", "hangs"])
def test_with_the_server_down_the_queue_stays_as_it_was(
    tmp_path: Path, stub: Stub, how: str
) -> None:
    last = write_run(tmp_path, artifacts=False)
    target = to(stub)
    if how == "hangs":
        stub.faults.hang = Counter({"Viewer": 99})
    else:
        target = WandbDestination(WandbTarget(base_url="http://127.0.0.1:9"))
    done = Sender(tmp_path, target).drain(deadline=4)
    assert done.pending == last
    assert not done.state.dead
    assert "cannot be reached" in done.state.error
    stub.faults.hang.clear()
    assert Sender(tmp_path, to(stub)).drain(deadline=LONG).complete
    assert stub.state.runs[RUN].steps == list(range(1, last + 1))


def test_a_server_that_hangs_while_sending_leaves_the_queue_whole(
    tmp_path: Path, stub: Stub
) -> None:
    last = write_run(tmp_path, artifacts=False)
    stub.faults.hang = Counter({"file_stream": 99})
    began = time.monotonic()
    done = Sender(tmp_path, to(stub)).drain(deadline=10)
    assert time.monotonic() - began < 100  # the server hangs for ten minutes
    assert done.pending == last
    assert not done.state.dead
    stub.faults.hang.clear()
    assert Sender(tmp_path, to(stub)).drain(deadline=LONG).complete
    assert stub.state.runs[RUN].steps == list(range(1, last + 1))


def test_a_missing_file_is_never_acknowledged_and_does_not_hold_up_the_rest(
    tmp_path: Path, stub: Stub
) -> None:
    last = write_run(tmp_path)
    (number,) = [s.seq for s in read(tmp_path) if s.data.get("name") == "report.md"]
    digest = next(s.data["digest"] for s in read(tmp_path, number - 1))
    lost = blob_path(tmp_path, digest)
    kept = lost.read_bytes()
    lost.unlink()
    sender = Sender(tmp_path, to(stub), attempts=1)
    done = sender.drain(deadline=LONG)
    assert [letter.seq for letter in done.state.dead] == [number]
    assert "is missing" in done.state.dead[0].reason
    assert not done.complete
    assert stub.state.runs[RUN].steps == list(range(1, last + 1))
    lost.write_bytes(kept)
    assert sender.again().pending == last - number + 1
    assert sender.drain(deadline=LONG).complete
    assert ("report", f"{RUN}-report") in artifacts(stub)


def test_a_rejected_artifact_is_never_acknowledged(tmp_path: Path, stub: Stub) -> None:
    last = write_run(tmp_path)
    stub.faults.reject = {"checkpoint"}
    done = Sender(tmp_path, to(stub), attempts=1).drain(deadline=LONG)
    (number,) = [s.seq for s in read(tmp_path) if s.data.get("type") == "checkpoint"]
    assert number in {letter.seq for letter in done.state.dead}
    assert not done.complete
    assert stub.state.runs[RUN].steps == list(range(1, last + 1))


def test_what_a_resumed_run_superseded_is_not_sent(tmp_path: Path, stub: Stub) -> None:
    with Spool(tmp_path) as spool:
        for record in (start(), epoch(1), epoch(2), epoch(3), Resumed(after=2), epoch(2)):
            spool.append(record)
    assert Sender(tmp_path, to(stub)).drain(deadline=LONG).complete
    assert stub.state.runs[RUN].steps == [1, 2, 5, 6]


_KILLED = """
import sys
from structure_net.logging.sending import Sender, WandbDestination
from structure_net.logging.sinks import WandbTarget
Sender(sys.argv[1], WandbDestination(WandbTarget(base_url=sys.argv[2]))).drain()
"""


@pytest.mark.parametrize("stage", ["UpsertBucket", "file_stream"])
def test_a_killed_sender_loses_and_repeats_nothing(tmp_path: Path, stub: Stub, stage: str) -> None:
    last = write_run(tmp_path, epochs=300, artifacts=False)
    stub.faults.hang = Counter({stage: 1})
    words = [sys.executable, "-c", _KILLED, str(tmp_path), stub.url]
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        assert wait_for(lambda: not +stub.faults.hang, LONG)
        process.send_signal(signal.SIGKILL)
    done = Sender(tmp_path, to(stub)).drain(deadline=LONG)
    assert done.complete
    assert stub.state.runs[RUN].steps == list(range(1, last + 1))


def test_one_process_sends_at_a_time(tmp_path: Path, stub: Stub) -> None:
    from structure_net.logging.sending.sender import _alone

    write_run(tmp_path, artifacts=False)
    with _alone(tmp_path), pytest.raises(SpoolError, match="another program"):
        Sender(tmp_path, to(stub)).drain(deadline=5)


def test_without_a_key_nothing_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(TrackingError, match="wandb login"):
        WandbDestination(WandbTarget())


class Shelf:
    """A destination of the simplest kind: it keeps numbers, and refuses some of them.

    Args:
        refused: The numbers that it refuses.
    """

    name = "shelf"

    def __init__(self, refused: set[int]) -> None:
        self.refused = refused
        self.kept: list[int] = []

    def reach(self, seconds: float) -> None:
        """It is always there."""

    def send(self, batch: Batch, seconds: float) -> Receipt:
        """Keeps what it has not got and does not refuse."""
        self.kept += [n for n in batch.numbers if n not in {*self.refused, *self.kept}]
        missing = {n: "refused" for n in batch.numbers if n not in self.kept}
        return Receipt(missing, blamed=frozenset(missing))


def test_another_destination_has_a_queue_of_its_own(tmp_path: Path) -> None:
    last = write_run(tmp_path, artifacts=False)
    shelf = Shelf({3})
    assert isinstance(shelf, Destination)
    done = Sender(tmp_path, shelf, batch=4, attempts=2).drain()
    assert shelf.kept == [n for n in range(1, last + 1) if n != 3]
    assert done.state.dead == (DeadLetter(3, "refused", 2),)
    assert (done.pending, done.complete) == (0, False)
    assert destinations(tmp_path) == ("shelf",)
    shelf.refused.clear()
    sender = Sender(tmp_path, shelf)
    assert sender.again().pending == last - 2
    assert sender.drain().complete
    assert sorted(shelf.kept) == list(range(1, last + 1))


def test_the_queue_is_acknowledged_up_to_the_first_record_that_may_yet_come() -> None:
    before = QueueState(acknowledged=2)
    receipt = Receipt({5: "refused", 7: "not sent"}, blamed=frozenset({5}))
    once = settled((3, 4, 5, 6, 7), before, receipt, attempts=2)
    assert (once.acknowledged, once.dead, once.attempts) == (4, (), {5: 1})
    twice = settled((5, 6, 7), once, receipt, attempts=2)
    assert twice.acknowledged == 6
    assert twice.dead == (DeadLetter(5, "refused", 2),)
    hopeless = Receipt({7: "too late"}, hopeless=frozenset({7}))
    assert settled((7,), twice, hopeless, attempts=9).acknowledged == 7


def test_the_status_counts_what_waits(tmp_path: Path) -> None:
    last = write_run(tmp_path, artifacts=False)
    assert destinations(tmp_path) == ()
    status = read_status(tmp_path, "wandb")
    assert isinstance(status, Status)
    assert (status.pending, status.complete) == (last, False)
    assert f"{last} pending" in str(status)
    (tmp_path / "sync.json").write_text("{")
    with pytest.raises(SpoolError, match="Delete it"):
        read_status(tmp_path, "wandb")
