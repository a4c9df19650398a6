"""A tracker's client in a process of its own, and what is said to it and heard from it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO, Any, Final

from structure_net.errors import SpoolError, TrackingError
from structure_net.logging.locking import lock, release

PROGRAM: Final = Path(__file__).with_name("wandb_tracker.py")
_READ: Final = 1 << 16


class TrackingProcess:
    """A process that carries out orders, one line of JSON each, in the order in which they come.

    It outlives neither its work nor `kill`. When this process dies, it sees the end of its orders.
    As long as it lives, no other is started for the same spool: two would write over each other.

    Args:
        folder: The spool's; the client writes into ``wandb`` in it.

    Raises:
        TrackingError: It cannot be started, another is at work, or this is no POSIX system.
    """

    def __init__(self, folder: Path) -> None:
        self.failed: dict[int, str] = {}
        self.told = self.done = 0
        self._rest = b""
        if os.name != "posix":
            raise TrackingError(
                "W&B's client is kept apart by means that this system lacks. The spool holds "
                "everything: send it from Linux or macOS with `structure-net sync`."
            )
        try:
            self._process, self._log = _started(folder / "wandb")
        except OSError as error:
            raise TrackingError(f"W&B's client cannot be started: {error}.") from error
        except SpoolError as error:
            raise TrackingError(f"W&B's client is at work for this run already. {error}") from error
        os.set_blocking(self._answers.fileno(), False)

    @property
    def pid(self) -> int:
        """The number of the process, which is that of its group."""
        return self._process.pid

    def tell(self, order: Mapping[str, Any]) -> None:
        """Gives an order; waits where the process has fallen far behind.

        Raises:
            TrackingError: The process has ended.
        """
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise TrackingError(self._ended()) from error
        self.told += 1

    def hear(self) -> None:
        """Takes in what it has answered by now.

        Raises:
            TrackingError: It could not begin, or it is over.
        """
        if self._answers.closed:
            raise TrackingError(self._ended())
        while content := self._some():
            *lines, self._rest = (self._rest + content).split(b"\n")
            for line in lines:
                said = json.loads(line)
                self.done += 1
                if "failed" in said:
                    self.failed[said["seq"]] = said["failed"]
                    if said["do"] == "begin":
                        raise TrackingError(f"W&B cannot begin: {said['failed']}")

    def wait(self, deadline: float) -> bool:
        """Waits until it has answered every order; False where ``deadline`` seconds were too few.

        Raises:
            TrackingError: It has ended before, or could not begin.
        """
        by = monotonic() + deadline
        self.hear()
        while self.done < self.told:
            left = by - monotonic()
            if left <= 0:
                return False
            select.select([self._answers], [], [], min(left, 0.2))
            self.hear()
            if self.done < self.told and self._process.poll() is not None:
                self.hear()
                if self.done < self.told:
                    raise TrackingError(self._ended())
        return True

    def end(self) -> None:
        """Ends the orders and lets the process finish by itself."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:  # it is gone already
            return

    def leave(self) -> None:
        """Ends the orders and forgets the process, which finishes by itself."""
        self.end()
        threading.Thread(target=self._buried, name="tracker's end", daemon=True).start()

    def _buried(self) -> None:
        self._process.wait()
        self._answers.close()

    def kill(self) -> None:
        """Ends the process and all that it has started, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self.end()
        self._answers.close()

    def gone(self, deadline: float) -> bool:
        """Waits for the process to end, at most ``deadline`` seconds; whether it did."""
        try:
            self._process.wait(max(0.0, deadline))
        except subprocess.TimeoutExpired:
            return False
        self._answers.close()
        return True

    @property
    def _answers(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _some(self) -> bytes:
        try:
            return os.read(self._answers.fileno(), _READ)
        except BlockingIOError:
            return b""

    def _ended(self) -> str:
        code = self._process.poll()
        how = "" if code is None else f" with exit code {code}"
        if code is not None and code > 0 and (said := self._log.last_words()):
            how += f": {said}"
        return f"W&B's client ended{how}. What it missed is in the spool: `structure-net sync`."


@dataclass(frozen=True, slots=True)
class _Log:
    """What a client says on standard error.

    Args:
        path: The file.
        start: Where it begins in it, behind what earlier ones have said.
    """

    path: Path
    start: int

    def last_words(self) -> str:
        """The last line, which names the exception that a program ended by."""
        try:
            with self.path.open("rb") as file:
                file.seek(max(self.start, file.seek(0, os.SEEK_END) - _READ))
                said = file.read().decode("utf-8", "replace").split("\n")
        except OSError:
            return ""
        return next((line.strip()[:300] for line in reversed(said) if line.strip()), "")


def _started(folder: Path) -> tuple[subprocess.Popen[bytes], _Log]:
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        # What offline artifacts are made of stays with the run, where no other program tidies.
        "WANDB_DATA_DIR": str(folder / "staging"),
        "WANDB_CACHE_DIR": str(folder / "cache"),
    }
    held = os.open(folder / "client.lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        lock(held, folder / "client.lock")
        with (folder / "client.log").open("ab") as log:
            kept = _Log(folder / "client.log", log.tell())
            process = subprocess.Popen(
                # -P: the folder of the program holds a `wandb.py` of ours.
                [sys.executable, "-P", str(PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C is the run's
                pass_fds=(held,),  # the lock lives as long as the process
            )
            return process, kept
    finally:
        release(held)
