"""Blocks of a kernel's rows, and help with them, on several threads.

A kernel releases Python's lock, so plain threads run it side by side. They sleep until there is
work, and belong to one process: after a fork the child starts its own when it needs them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from queue import SimpleQueue
from typing import Any, Final

Block = Callable[[int, int], object]
_Outcome = SimpleQueue[BaseException | None]

_crews: Final[dict[int, _Crew]] = {}


class _Crew:
    """The threads of a process.

    Attributes:
        tasks: What waits for one of them.
        size: How many there are.
    """

    def __init__(self) -> None:
        self.tasks: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._size = 0
        self._lock = threading.Lock()

    def grow(self, size: int) -> None:
        """Starts threads until there are ``size``."""
        if self._size >= size:
            return
        with self._lock:
            for number in range(self._size, size):
                name = f"structure-net-kernel-{number}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
            self._size = max(size, self._size)

    def _work(self) -> None:
        while True:
            self.tasks.get()()


def run_blocks(block: Block, bounds: Sequence[int]) -> None:
    """Calls ``block(first, last)`` for all neighbours in ``bounds``, at once, and waits for them.

    The calling thread takes the first block itself.

    Args:
        block: Must release Python's lock to gain from it, and must not depend on the others.
        bounds: Ascending; where the blocks begin, and the end of the last.

    Raises:
        BaseException: What the first failing block raised, or an interrupt, once all of them have
            ended.
    """
    pairs = [(a, b) for a, b in pairwise(bounds) if a < b]
    outcome: _Outcome = SimpleQueue()
    if len(pairs) > 1:
        crew = _crews.setdefault(os.getpid(), _Crew())
        crew.grow(len(pairs) - 1)
        for first, last in pairs[1:]:
            crew.tasks.put(partial(_report, block, (first, last), outcome))
    failures = [_failure(block, *pair) for pair in pairs[:1]]
    try:
        _gather(outcome, failures, len(pairs))
    except BaseException:
        # An interrupt: whoever gets it finds nothing that is still written.
        _gather(outcome, failures, len(pairs))
        raise
    for failure in failures:
        if failure is not None:
            raise failure


def invite(tasks: Sequence[Callable[[], object]]) -> None:
    """Asks other threads to run ``tasks``, one each, and does not wait for them.

    As many of the last tasks are left out as others still wait for a thread.

    Args:
        tasks: Must not raise. One may be run late, when its work has been done by others.
    """
    crew = _crews.setdefault(os.getpid(), _Crew())
    crew.grow(len(tasks))
    for task in tasks[: max(0, len(tasks) - crew.tasks.qsize())]:
        crew.tasks.put(task)


def even_bounds(weights: Any, parts: int) -> list[int]:
    """Bounds of ``parts`` blocks of rows with about equal work.

    Args:
        weights: Ascending sums of the rows' work, from 0: a numpy array, shape ``(rows + 1,)``.
        parts: The number of blocks.

    Returns:
        ``parts + 1`` row numbers, ascending from 0 to the number of rows.
    """
    shares = [int(weights[-1]) * part // parts for part in range(1, parts)]
    return [0, *(int(row) for row in weights.searchsorted(shares)), len(weights) - 1]


def _gather(outcome: _Outcome, failures: list[BaseException | None], count: int) -> None:
    """Takes outcomes until there are ``count``."""
    while len(failures) < count:
        failures.append(outcome.get())


def _report(block: Block, pair: tuple[int, int], outcome: _Outcome) -> None:
    outcome.put(_failure(block, *pair))


def _failure(block: Block, first: int, last: int) -> BaseException | None:
    """What ``block`` raises, if anything: it belongs to the thread that asked for the block."""
    try:
        block(first, last)
    except BaseException as failure:  # noqa: BLE001  # raised again by `run_blocks`
        return failure
    return None
