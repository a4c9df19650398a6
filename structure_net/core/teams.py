"""PyTorch's own threads, at work for kernels.

After each parallel operation PyTorch's threads spin for milliseconds on the cores where others
would run. They take a kernel's share at once, then, where a thread of ours would first have to be
woken and then to fight for the core. PyTorch's threads on the processor are those of OpenMP, whose
runtimes on Linux have one entry that runs a function of C in each thread of a team.

Threads that have gone to sleep take .1 ms to wake, and now and then as long as they spin, some
milliseconds. So they are called where they were at work a moment ago, and every so often otherwise.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch

from structure_net.core.compiling import Kernel

_PROCESS: Final = os.getpid()

_WARM: Final = 3e-3
"""Seconds that threads are taken to spin after their work."""
_AGAIN: Final = 4
"""How many calls in a row sleeping threads are left out of, the last aside."""

Entry = Callable[[int, int, int, int], object]


class _Team(threading.local):
    """What is known of the threads that belong to a thread.

    Attributes:
        worked: When they did last.
        left: How often they have been left out since.
    """

    worked = float("-inf")
    left = 0


_TEAM: Final = _Team()


def in_team(
    kernel: Kernel[[int], None], argument: int, threads: int, *, wake: bool = False
) -> bool:
    """Calls a kernel in several threads at once, of which one is the caller's, and waits for all.

    Args:
        kernel: Declared ``for_c``. Must get by with fewer threads.
        argument: What it is called with.
        threads: How many.
        wake: Whether there is so much to do that threads that sleep are worth waking.

    Returns:
        Whether it was called. It is not where PyTorch has no such threads or where they sleep, nor
        in a process that was forked: its threads are those of the process that it was forked from.
    """
    entry = _entry()
    if entry is None or os.getpid() != _PROCESS:
        return False
    if not wake and time.monotonic() > _TEAM.worked + _WARM:
        _TEAM.left += 1
        if _TEAM.left < _AGAIN:
            return False
    entry(kernel.address, argument, threads, 0)
    _TEAM.worked, _TEAM.left = time.monotonic(), 0
    return True


@cache
def _entry() -> Entry | None:
    """The entry of the OpenMP that PyTorch itself runs on, which releases Python's lock."""
    if not torch.backends.openmp.is_available():
        return None
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        entry: Any = ctypes.CDLL(str(library)).GOMP_parallel
    except (OSError, AttributeError):
        return None
    entry.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    entry.restype = None
    found: Entry = entry
    return found
