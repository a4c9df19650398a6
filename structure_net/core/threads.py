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
    outcome, asked = _Outcome(), 0
    if len(pairs) > 1:
        crew = _crews.setdefault(os.getpid(), _Crew())
        crew.grow(len(pairs) - 1)
    try:
        for pair in pairs[1:]:
            crew.tasks.put(partial(outcome.of, block, *pair))
            asked += 1
        for pair in pairs[:1]:
            block(*pair)
        outcome.wait(asked)
    except BaseException:
        # What the first block raised, or an interrupt: whoever gets it finds nothing that is still
        # written.
        outcome.wait(asked)
        raise
    for failure in outcome.failures:
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


def uninterrupted(task: Callable[[], object]) -> None:
    """Calls ``task`` where signals do not reach it, if need be in a thread, and waits for it.

    An interrupt ends the waiting, not the task.

    Raises:
        BaseException: What ``task`` raised.
    """
    if threading.current_thread() is not threading.main_thread():
        task()
        return
    ended: SimpleQueue[BaseException | None] = SimpleQueue()

    def call() -> None:
        try:
            task()
        except BaseException as failure:  # noqa: BLE001  # raised again by who waits
            ended.put(failure)
        else:
            ended.put(None)

    # No daemon: it could not be ended within LLVM.
    threading.Thread(target=call, name="structure-net-task").start()
    failure = ended.get()
    if failure is not None:
        raise failure


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


class _Outcome:
    """What becomes of the blocks that other threads run.

    Attributes:
        failures: What each that has ended raised, if anything.
    """

    def __init__(self) -> None:
        self.failures: list[BaseException | None] = []
        self._news: SimpleQueue[None] = SimpleQueue()

    def of(self, block: Block, first: int, last: int) -> None:
        """Calls a block, and keeps what it raises: it belongs to the thread that asked for it."""
        try:
            block(first, last)
        except BaseException as failure:  # noqa: BLE001  # raised again by `run_blocks`
            self.failures.append(failure)
        else:
            self.failures.append(None)
        self._news.put(None)

    def wait(self, count: int) -> None:
        """Waits until ``count`` blocks have ended, however many news an interrupt has swallowed."""
        while len(self.failures) < count:
            self._news.get()
