"""A server whose encryption is at fault: nothing is told to it, and the queue stays as it was."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from structure_net.errors import TrackingError
from structure_net.logging.sending import Sender, WandbDestination
from structure_net.logging.sinks import WandbTarget
from tests.structure_net.logging.recorded import write_run

PAIR = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgy6femKPtm58LBJ/R
qBQ6bu5XI7vrTJewZs2j8i8CGOOhRANCAAToT1EltqL0sW6c+IJFanXz25lLrw70
cd05+suP+7gc21z2M0DuYRomCLd/+PBMNI8mTXH6UTSR0ecpnsOlk38t
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBfjCCASWgAwIBAgIUK9N+hYKYmg+wkvgyfsUn0bSS/uAwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjE4Mzc0OVoYDzIxMjYxMDI5
MTgzNzQ5WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAToT1EltqL0sW6c+IJFanXz25lLrw70cd05+suP+7gc21z2M0DuYRom
CLd/+PBMNI8mTXH6UTSR0ecpnsOlk38to1MwUTAdBgNVHQ4EFgQUxHycXQvAAhcP
7UpIaOs/MK39OiowHwYDVR0jBBgwFoAUxHycXQvAAhcP7UpIaOs/MK39OiowDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiAQKBwtxwVq7XjY3q/z07xU
CxmZrKOqLh/ORpeTMgAy+gIgUIHIoyMJ4FMelK5M4Wz0+Z1nwlKsKfiC3TPq7hdS
644=
-----END CERTIFICATE-----
"""
"""A key for the loopback and its certificate, which nobody vouches for."""


@contextmanager
def meddling(how: str, pair: Path) -> Iterator[tuple[str, list[bytes]]]:
    """A server on the loopback, and what it understood of what it was sent."""
    understood: list[bytes] = []
    over = threading.Event()

    def answer(connection: socket.socket) -> None:
        with connection:
            if how == "a wrong certificate":
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(pair)
                with context.wrap_socket(connection, server_side=True) as opened:
                    understood.append(opened.recv(100))
            connection.recv(20)
            if how == "no end":
                over.wait()

    def serve() -> None:
        while not over.is_set():
            with suppress(OSError):  # also where the client hangs up
                answer(listening.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listening.getsockname()[1]}", understood
        over.set()
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("a wrong certificate", "certificate verify failed"),
        ("cut", "cannot be reached"),
        ("no end", r"no whole answer within 0\.5 s|timed out"),
    ],
)
def test_a_server_at_fault_is_told_nothing_and_the_queue_is_kept(
    tmp_path: Path, how: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    last = write_run(tmp_path, epochs=1, artifacts=False)
    pair = tmp_path / "pair.pem"
    pair.write_text(PAIR)
    with meddling(how, pair) as (url, understood):
        destination = WandbDestination(WandbTarget(base_url=url))
        with pytest.raises(TrackingError, match=said):
            destination.reach(0.5 if how == "no end" else 200.0)
        done = Sender(tmp_path, destination).drain(deadline=1.2)
    assert understood == []
    assert (done.pending, done.state.dead) == (last, ())
