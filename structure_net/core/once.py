"""What is done at most once in a process, whichever thread comes first."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock


class Once:
    """Calls an action at its first call, and never again.

    Who comes while another thread is at it waits: behind a call, the action was done. One that
    raised was not, and is tried again.

    Args:
        action: What is to be done. It may come here again itself, and is not repeated then.
    """

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action
        self._lock = RLock()
        self._begun = False
        self._done = False

    def __call__(self) -> None:
        """Does it, or sees that it is done."""
        if self._done:
            return
        with self._lock:
            if self._begun:
                return
            self._begun = True
            try:
                self._action()
            except BaseException:
                self._begun = False
                raise
            self._done = True
