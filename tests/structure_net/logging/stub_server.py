"""A server on the loopback that speaks as much of W&B as its real client needs, and can misbehave.

It keeps history lines by their offset, as W&B does, so that a request that comes twice changes
nothing. `Faults` says what goes wrong, and for how many requests.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.structure_net.logging.stub_graphql import answer
from tests.structure_net.logging.stub_state import State


@dataclass
class Faults:
    """What goes wrong, by the word in a request that it befalls.

    Args:
        fail: Requests that are answered with an error 500, by how many times.
        drop: Requests whose connection is cut before they are read into anything, by how many.
        drop_after: Requests that are carried out, and then their connection is cut, by how many.
        twice: Requests that are carried out twice, by how many times.
        hang: Requests that are never answered, by how many times.
        reject: Artifacts that the server refuses to commit, by the beginning of their name.
    """

    fail: Counter[str] = field(default_factory=Counter)
    drop: Counter[str] = field(default_factory=Counter)
    drop_after: Counter[str] = field(default_factory=Counter)
    twice: Counter[str] = field(default_factory=Counter)
    hang: Counter[str] = field(default_factory=Counter)
    reject: set[str] = field(default_factory=set)


class Stub:
    """The server's address, what it has, and what goes wrong with it.

    Args:
        url: Where it listens.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.state = State(url)
        self.faults = Faults()
        self.lock = threading.RLock()
        self.over = threading.Event()
        self.requests: Counter[str] = Counter()

    def takes(self, fault: Counter[str], words: str) -> bool:
        """Whether a fault befalls a request, which uses it up."""
        with self.lock:
            for word, left in fault.items():
                if left > 0 and word in words:
                    fault[word] -= 1
                    return True
        return False


@contextmanager
def serving() -> Iterator[Stub]:
    """A server for as long as the block lasts."""
    server = _Server(("127.0.0.1", 0), _Handler)
    stub = Stub(f"http://127.0.0.1:{server.server_address[1]}")
    server.stub = stub  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield stub
    finally:
        stub.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of clients that were killed or cut off."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing."""

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    @property
    def _stub(self) -> Stub:
        return self.server.stub  # type: ignore[attr-defined, no-any-return]

    def _serve(self) -> None:
        stub, faults = self._stub, self._stub.faults
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else self._chunks()
        path = urlsplit(self.path).path
        asked = json.loads(body) if path == "/graphql" else {}
        words = f"{self.command} {path} {asked.get('query', '')}"
        with stub.lock:
            stub.requests[_named(words)] += 1
        if stub.takes(faults.hang, words):
            stub.over.wait(600)
            self._cut()
        elif stub.takes(faults.drop, words):
            self._cut()
        elif stub.takes(faults.fail, words):
            self._answer({"error": "the server has a bad day"}, status=500)
        else:
            found = self._carried_out(path, body, asked)
            if stub.takes(faults.twice, words):
                found = self._carried_out(path, body, asked)
            if stub.takes(faults.drop_after, words):
                self._cut()
            else:
                self._answer(found)

    def _carried_out(self, path: str, body: bytes, asked: dict[str, Any]) -> Any:
        stub = self._stub
        with stub.lock:
            if path == "/graphql":
                return answer(stub.state, stub.faults.reject, asked)
            if path.endswith("/file_stream"):
                stub.state.stream(path.split("/")[-2], json.loads(body))
                return {"exitcode": None, "limits": {}}
            if self.command == "PUT":
                stub.state.uploads[path] = body
            return stub.state.uploads.get(path, b"") if self.command == "GET" else {}

    def _chunks(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return b""
        found = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.close()

    def _answer(self, found: Any, status: int = 200) -> None:
        content = found if isinstance(found, bytes) else json.dumps(found).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except OSError:  # its client was killed
            self.close_connection = True


def _named(words: str) -> str:
    """A short name of a request, for counting."""
    method, path, query = words.split(" ", 2)
    parts = query.replace("(", " ").replace("{", " ").split()
    return " ".join(parts[:2]) if parts else f"{method} {path.rsplit('/', 1)[-1]}"


def wait_for(what: Any, seconds: float = 250.0) -> bool:
    """Waits until ``what()`` holds; whether it does."""
    by = time.monotonic() + seconds
    while time.monotonic() < by:
        if what():
            return True
        time.sleep(0.02)
    return False
