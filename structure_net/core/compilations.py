"""Who wants to know is told of what is compiled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

_listeners: Final[list[Callable[[Compilation], None]]] = []


@dataclass(frozen=True, slots=True)
class Compilation:
    """That a kernel is being compiled, or was.

    Args:
        kernel: The kernel's name, with its module.
        seconds: How long it took; None when it begins.
    """

    kernel: str
    seconds: float | None = None


@contextmanager
def watching_compilation(listener: Callable[[Compilation], None]) -> Iterator[None]:
    """Tells ``listener`` of every compilation inside, in any thread: when it begins and ends.

    A kernel that is read from the cache is not compiled.
    """
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@contextmanager
def announced(name: str) -> Iterator[None]:
    """Tells the listeners of what numba really compiles inside, once per kernel.

    Args:
        name: The kernel's.
    """
    if not _listeners:
        yield
        return
    from numba.core import event

    class Listener(event.Listener):
        started: float | None = None

        def on_start(self, event: Any) -> None:
            if self.started is None:
                self.started = time.perf_counter()
                _tell(Compilation(name))

        def on_end(self, event: Any) -> None:
            """One kernel may be several compilations; `announced` tells when all are done."""

    listener = Listener()
    with event.install_listener("numba:compile", listener):
        yield
    if listener.started is not None:
        _tell(Compilation(name, time.perf_counter() - listener.started))


def _tell(compilation: Compilation) -> None:
    for listener in tuple(_listeners):
        listener(compilation)
