"""Torch's functions as they are called, watched for a while, with pauses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

Called = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


class WatchedFunctions:
    """Hands every function of torch that is called to a tracker, which calls it."""

    def __init__(self) -> None:
        self._mode: _Mode | None = None
        self._paused = False
        self._thread: int | None = None

    @contextmanager
    def watching(self, called: Called) -> Iterator[None]:
        """Watches what is called inside.

        Args:
            called: Takes a function, its arguments and its named ones; returns what it gives.
        """
        self._mode = mode = _Mode(called)
        self._thread = get_ident()
        try:
            mode.__enter__()  # type: ignore[no-untyped-call]  # torch's
            yield
        finally:
            self.close()

    def close(self) -> None:
        """Stops watching, however far an interrupt let it begin, pause or end."""
        while self._mode is not None and self._mode.is_innermost():
            self._mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]  # torch's
        self._mode, self._paused, self._thread = None, False, None

    def watched_here(self) -> bool:
        """Whether it is in this thread that functions are watched, if not paused."""
        return self._thread == get_ident()

    def pause(self) -> bool:
        """Watches nothing until `resume`, so that no function pays for being ignored.

        Returns:
            Whether it watched, and saw functions first.
        """
        if self._mode is None or not self._mode.is_innermost():
            return False
        self._mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]  # torch's
        self._paused = True
        return True

    def resume(self) -> None:
        """Watches again, where it was paused."""
        if self._paused and self._mode is not None:
            self._mode.__enter__()  # type: ignore[no-untyped-call]  # torch's
            self._paused = False


class _Mode(TorchFunctionMode):
    def __init__(self, called: Called) -> None:
        super().__init__()
        self._called = called

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return self._called(func, args, kwargs or {})

    def is_innermost(self) -> bool:
        """Whether it is this mode that sees a function first."""
        return torch.overrides._get_current_function_mode() is self
