"""The queue in a hostile world: servers that are none, damaged spools, senders that are killed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from structure_net.errors import RecordError, SpoolError, TrackingError
from structure_net.logging import RecordStream, Spool, read
from structure_net.logging.lines import Stored, line_of
from structure_net.logging.reading import first_of, last_of
from structure_net.logging.sending import Batch, Receipt, Sender, WandbDestination, read_status
from structure_net.logging.sending.state import QueueState, write_state
from structure_net.logging.sinks import WandbSink, WandbTarget
from structure_net.logging.tracking import artifact_name, run_name, run_of
from tests.structure_net.logging.recorded import RUN, epoch, start, write_run
from tests.structure_net.logging.stub_server import serving
from tests.structure_net.logging.test_sending import Shelf


class Odd(BaseHTTPRequestHandler):
    """Answers every request in one way, which is the server's."""

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server: Any = self.server
        server.asked += 1
        status, headers, body, pause = server.way
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            for byte in body if pause else ():
                self.wfile.write(bytes([byte]))
                server.over.wait(pause)
            self.wfile.write(b"" if pause else body)
        except OSError:  # nobody listens any more
            return


@contextmanager
def answering(
    status: int = 200, body: bytes = b"", *, pause: float = 0.0, **headers: str
) -> Iterator[Any]:
    """A server that answers in one way for as long as the block lasts."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    server.way, server.asked, server.over = (status, named, body, pause), 0, threading.Event()
    server.daemon_threads = True
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)


def to(server: Any) -> WandbDestination:
    return WandbDestination(WandbTarget(base_url=server.url), settling=0.1)


def told(**data: Any) -> bytes:
    return json.dumps({"data": {"viewer": {"entity": "me"}, **data}}).encode()


def rows(history: Any) -> bytes:
    return told(project={"run": {"history": history}})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Sign in to the hotel's network</html>",
        b'{"data": {"viewer":',
        b"[" * 100_000,
        b'{"data": [1]}',
        told(viewer="me"),
        told(project=7),
        rows(["{no json"]),
        rows([json.dumps({"loss": 1})]),
        rows([json.dumps({"_step": [1]})]),
        told(project={"run": {"history": [], "outputArtifacts": {"edges": [None]}}}),
    ],
    ids=["empty", "page", "half", "deep", "list", "viewer", "project", "row", "step", "steps",
         "artifact"],
)  # fmt: skip
def test_an_answer_that_is_not_wandbs_is_an_error_in_words(tmp_path: Path, body: bytes) -> None:
    write_run(tmp_path, epochs=1, artifacts=False)
    batch = Batch(tmp_path, tuple(read(tmp_path)))
    with answering(body=body) as server:
        destination = to(server)
        with pytest.raises(TrackingError, match="something else than W&B would"):
            destination.send(batch, 60.0)


def test_a_server_that_answers_by_the_byte_is_not_waited_for(tmp_path: Path) -> None:
    write_run(tmp_path, epochs=1, artifacts=False)
    with answering(body=b" " * 600, pause=1.0) as server:
        began = time.monotonic()
        # On a busy machine the first byte may be late, too.
        with pytest.raises(TrackingError, match=r"no whole answer within 0\.3 s|timed out"):
            to(server).reach(0.3)
        assert time.monotonic() - began < 200.0  # the answer takes ten minutes


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_the_key_is_never_sent_where_a_server_leads_to(status: int) -> None:
    with answering(body=told()) as other, answering(status, Location=f"{other.url}/") as server:
        with pytest.raises(TrackingError, match=f"status {status}: ask '{other.url}/'"):
            to(server).reach(60.0)
        assert (server.asked, other.asked) == (1, 0)


def test_a_server_that_asks_for_patience_is_left_alone(tmp_path: Path) -> None:
    write_run(tmp_path, epochs=1, artifacts=False)
    with answering(429, Retry_After="3600") as server:
        done = Sender(tmp_path, to(server)).drain()
        assert server.asked == 1
        assert "left alone for 3600 s" in done.state.error
    with answering(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT") as server:
        with pytest.raises(TrackingError, match=r"503.*try again later") as caught:
            to(server).reach(60.0)
        assert caught.value.wait == 0.0


def changed(folder: Path, seq: int, line: bytes) -> None:
    """Replaces one line of a spool; by nothing: takes it out."""
    path = folder / "records.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[: seq - 1], line, *lines[seq:]]))


@pytest.mark.parametrize(("line", "why"), [(b"{}\n", "is damaged"), (b"", "should stand before")])
def test_a_damaged_record_is_set_aside_with_the_reason_and_the_others_arrive(
    tmp_path: Path, line: bytes, why: str
) -> None:
    last = write_run(tmp_path, artifacts=False)
    changed(tmp_path, 4, line)
    shelf = Shelf(set())
    done = Sender(tmp_path, shelf, batch=2).drain()
    assert shelf.kept == [n for n in range(1, last + 1) if n != 4]
    assert [letter.seq for letter in done.state.dead] == [4]
    assert why in done.state.dead[0].reason
    assert (done.pending, done.complete) == (0, False)


@pytest.mark.parametrize("sent_before", [0, 5])
def test_behind_a_damaged_first_line_all_arrives_under_the_name_of_the_run(
    tmp_path: Path, sent_before: int
) -> None:
    last = write_run(tmp_path, artifacts=False)
    named = run_of(tmp_path)
    first = (tmp_path / "records.jsonl").read_bytes().splitlines(keepends=True)[0]
    with serving() as stub:
        destination = WandbDestination(WandbTarget(base_url=stub.url), settling=1.0)
        if sent_before:
            state = QueueState(acknowledged=sent_before)
            write_state(tmp_path, destination.name, state)
        changed(tmp_path, 1, first.replace(b'"seed":3', b'"seed":4'))
        done = Sender(tmp_path, destination, attempts=1).drain()
        ((name, run),) = stub.state.runs.items()
    assert named == name == RUN
    assert sorted(set(run.steps)) == list(range(max(2, sent_before + 1), last + 1))
    assert [letter.seq for letter in done.state.dead] == ([] if sent_before else [1])
    assert done.pending == 0
    assert first_of(tmp_path).seq == 2


def test_what_is_left_of_no_first_line_still_gives_one_name(tmp_path: Path) -> None:
    write_run(tmp_path, artifacts=False)
    changed(tmp_path, 1, b"gibberish\n")
    assert run_of(tmp_path) == run_of(tmp_path) != RUN


def test_what_stands_before_a_damaged_end_arrives_and_the_end_is_told_of(tmp_path: Path) -> None:
    last = write_run(tmp_path, artifacts=False)
    changed(tmp_path, last, b"{}\n")
    shelf = Shelf(set())
    with pytest.raises(SpoolError, match=f"line {last}.*has been sent"):
        Sender(tmp_path, shelf).drain()
    assert shelf.kept == list(range(1, last))
    with Spool(tmp_path) as spool:  # cuts the end off, so that its number is given anew
        assert spool.append(epoch(9)).seq == last
    assert Sender(tmp_path, shelf).drain().complete
    assert shelf.kept == list(range(1, last + 1))


def test_what_a_newer_program_wrote_waits_for_a_newer_program(tmp_path: Path) -> None:
    write_run(tmp_path, artifacts=False)
    changed(tmp_path, 4, line_of(Stored(4, "2026", "epoch", 99, "{}")))
    shelf = Shelf(set())
    with pytest.raises(RecordError, match="Update structure-net"):
        Sender(tmp_path, shelf).drain()
    assert shelf.kept == [1, 2, 3]
    assert not read_status(tmp_path, "shelf").state.dead


def test_the_queue_of_another_spool_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, artifacts=False)
    Sender(tmp_path, Shelf(set())).drain()
    (tmp_path / "records.jsonl").unlink()
    write_run(tmp_path, epochs=50, artifacts=False)
    shelf = Shelf(set())
    with pytest.raises(SpoolError, match="belongs to another spool"):
        Sender(tmp_path, shelf).drain()
    (tmp_path / "sync.json").unlink()
    assert Sender(tmp_path, shelf).drain().complete


def test_the_last_number_is_found_from_the_end_however_long_its_line_is(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        assert last_of(tmp_path) == 0
        spool.append(start().model_copy(update={"config": {"text": "x" * 300_000}}))
        assert last_of(tmp_path) == 1
        spool.append(epoch(1))
    with (tmp_path / "records.jsonl").open("ab") as file:
        file.write(b"{}\n" * 10 + b'{"seq":9')
    assert last_of(tmp_path) == 2


class Worried:
    """A destination that is never reached, and says for how long it wants to be left alone."""

    name = "worried"

    def __init__(self) -> None:
        self.asked = 0

    def reach(self, seconds: float) -> None:
        self.asked += 1
        raise TrackingError("not now", wait=0.01 if self.asked < 2 else 31.0)

    def send(self, batch: Batch, seconds: float) -> Receipt:
        raise AssertionError


def test_a_short_wish_is_granted_and_a_long_one_ends_the_call(tmp_path: Path) -> None:
    write_run(tmp_path, epochs=1, artifacts=False)
    worried = Worried()
    done = Sender(tmp_path, worried).drain(deadline=1000.0)
    assert (worried.asked, done.state.error) == (2, "not now")


def test_names_that_differ_stay_different_and_none_is_too_long() -> None:
    def named(text: str) -> str:
        return run_name(Stored(1, "2026", "run_started", 1, text))

    names = [named(json.dumps({"run": run})) for run in ("a/b", "a-b", "a b", "", "x" * 4000, "ü")]
    assert len({*names, named("{}")}) == 7
    assert names[1] == "a-b"
    assert all(0 < len(name) <= 64 for name in names)
    assert (
        artifact_name("checkpoint.safetensors", "0" * 32) == "checkpoint.safetensors-000000000000"
    )
    long = [artifact_name("x" * 4000 + end, "0" * 32) for end in "ab"]
    assert long[0] != long[1]
    assert max(map(len, long)) <= 128


def test_a_wandb_that_cannot_be_imported_is_named_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb.py").write_text("raise ImportError('half an installation')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with RecordStream(Spool(tmp_path / "run"), [WandbSink(patience=250.0)], patience=250.0) as it:
        it.emit(start())
    (trouble,) = it.troubles
    assert "ImportError: half an installation" in trouble.reason
