"""Times and memory on a CUDA device, without making it wait.

An operation on the device is only queued when Python goes on, so that a wall clock says nothing of
it. Events are queued among the operations instead, and read when they are past; only the end of the
measurement waits for the device.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

import torch

_GATHER: Final = 256
"""Pairs of events that wait before those that are past are read."""


class Mark(Protocol):
    """A point in the device's work, as `torch.cuda.Event` is one."""

    def record(self) -> None:
        """Queues the point."""

    def query(self) -> bool:
        """Whether the device has passed it."""

    def elapsed_time(self, end_event: Any) -> float:
        """Milliseconds from here to ``end_event``."""


class DeviceClock:
    """Times stretches of the device's work by pairs of marks.

    Args:
        new_mark: Makes a mark.
    """

    def __init__(self, new_mark: Callable[[], Mark]) -> None:
        self._new_mark = new_mark
        self._free: list[Mark] = []
        self._waiting: deque[tuple[Callable[[float], None], Mark, Mark]] = deque()

    def mark(self) -> Mark:
        """Queues a mark among the device's work."""
        mark = self._free.pop() if self._free else self._new_mark()
        mark.record()
        return mark

    def stretch(self, start: Mark, add: Callable[[float], None]) -> None:
        """Ends a stretch here; ``add`` is told its seconds once they are known."""
        self._waiting.append((add, start, self.mark()))
        if len(self._waiting) >= _GATHER:
            self.settle()

    def settle(self) -> None:
        """Reads the stretches whose end the device has passed."""
        while self._waiting and self._waiting[0][2].query():
            add, start, end = self._waiting.popleft()
            add(start.elapsed_time(end) / 1000)
            self._free += [start, end]


class DeviceMemory:
    """The peaks of a CUDA device's memory between points that may lie within each other.

    It sets back what `torch.cuda.max_memory_allocated` says.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._tops: list[tuple[int, int]] = []  # held at the beginning, most since

    def begin(self) -> None:
        """A stretch begins."""
        self._note(torch.cuda.max_memory_allocated(self._device))
        held = torch.cuda.memory_allocated(self._device)
        self._tops.append((held, held))
        torch.cuda.reset_peak_memory_stats(self._device)

    def end(self) -> int:
        """The stretch that began last is over; the most that it held beyond its beginning."""
        self._note(torch.cuda.max_memory_allocated(self._device))
        held, top = self._tops.pop()
        self._note(top)
        return top - held

    def _note(self, top: int) -> None:
        if self._tops:
            held, most = self._tops[-1]
            self._tops[-1] = held, max(most, top)


def clock_of(device: torch.device) -> DeviceClock | None:
    """A clock for a CUDA device; None for any other."""
    if device.type != "cuda":
        return None

    def mark() -> Mark:
        with torch.cuda.device(device):
            event: Mark = torch.cuda.Event(enable_timing=True)
        return event

    return DeviceClock(mark)
