"""Fresh processes in milliseconds: forks of one server that has torch imported, and nothing run.

Python's own fork server, with two differences. It is the lab's, so that nobody else's settings
reach it. And its processes never import ``__main__`` again: a script needs no guard around what it
runs, and a notebook has no file to import.
"""

from __future__ import annotations

import io
import os
from functools import cache
from multiprocessing import popen_forkserver, reduction, spawn, util
from multiprocessing.context import ForkServerContext, ForkServerProcess, set_spawning_popen
from multiprocessing.forkserver import ForkServer, read_signed
from multiprocessing.process import BaseProcess, current_process
from typing import Any, Final

PRELOADED: Final = (
    "torch",
    "torch._dynamo",  # the first optimizer imports it, which takes seconds
    "threadpoolctl",
    "structure_net.evolution.components",
    "structure_net.evolution.serialising",
    "structure_net.data",
    "neural_architecture_lab.experiments",
    "neural_architecture_lab.runners.working",
)
_OF_MAIN: Final = ("init_main_from_name", "init_main_from_path")


@cache
def server() -> ForkServer:
    """The lab's fork server, one for each process. It ends when that process does."""
    found = ForkServer()
    found.set_forkserver_preload(list(PRELOADED))
    return found


class Context(ForkServerContext):
    """A context of multiprocessing whose processes are forks of the lab's server.

    Attributes:
        last: The process that was made last.
    """

    last: BaseProcess

    def Process(  # type: ignore[override]  # noqa: N802 - multiprocessing's name, of a class
        self, *args: Any, **more: Any
    ) -> BaseProcess:
        """A process that can be started."""
        self.last = TrialProcess(*args, **more)
        return self.last


class TrialProcess(ForkServerProcess):
    """A fork of the lab's server.

    Workers of Dask are daemons, which may have no children, since these would outlive them. A trial
    does not outlive whoever began it: it watches them.
    """

    def start(self) -> None:
        """Begins it."""
        settings = current_process()._config  # type: ignore[attr-defined]  # of CPython's
        daemon = settings.pop("daemon", None)
        try:
            super().start()
        finally:
            if daemon is not None:
                settings["daemon"] = daemon

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 - multiprocessing's name
        return _Popen(process_obj)


class _Popen(popen_forkserver.Popen):
    """Starts a process as Python's own class does, without a word on ``__main__``."""

    _fds: list[int]

    def _launch(self, process_obj: Any) -> None:
        prepared = spawn.get_preparation_data(process_obj._name)
        for name in _OF_MAIN:
            prepared.pop(name, None)
        buffer = io.BytesIO()
        set_spawning_popen(self)
        try:
            reduction.dump(prepared, buffer)
            reduction.dump(process_obj, buffer)
        finally:
            set_spawning_popen(None)
        self.sentinel, pipe = server().connect_to_new_process(self._fds)
        # The child sees by this end, which closes with this process, that its parent lives.
        lives = os.dup(pipe)
        self.finalizer = util.Finalize(self, _close, (lives, self.sentinel))
        with os.fdopen(pipe, "wb") as stream:
            stream.write(buffer.getbuffer())
        self.pid = read_signed(self.sentinel)


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
