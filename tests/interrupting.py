"""Interrupts at every point where Python looks for them."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

_BEHIND: Final = {"CALL", "CALL_FUNCTION_EX", "CALL_KW", "JUMP_BACKWARD", "RESUME"}
"""Instructions behind which Python runs the handlers of signals."""


class _Strike:
    """Raises an interrupt at one point of what runs in some files."""

    def __init__(self, files: tuple[str, ...], point: int) -> None:
        self._files = files
        self._left = point
        self._last: dict[FrameType, str] = {}
        self.struck = False

    def trace(self, frame: FrameType, _event: str, _value: Any) -> Any:
        if not frame.f_code.co_filename.endswith(self._files):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._step

    def _step(self, frame: FrameType, event: str, _value: Any) -> Any:
        if event == "opcode":
            name = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            last = self._last.get(frame, "RESUME")
            self._last[frame] = name
            # These begin the end of a block, which Python does not part from its last call.
            if last in _BEHIND and name not in {"LOAD_CONST", "SWAP"}:
                self._left -= 1
                if self._left < 0:
                    sys.settrace(None)
                    self.struck = True
                    raise KeyboardInterrupt
        return self._step


def interrupted_everywhere(
    task: Callable[[], object], files: tuple[str, ...], *, every: int = 1
) -> Iterator[BaseException]:
    """Runs ``task`` again and again, with an interrupt at the next point each time, to its end.

    Args:
        task: Must not catch interrupts.
        files: How the names of the files end in which interrupts strike.
        every: Takes one point of so many.

    Yields:
        The interrupt, which holds what frames hold, as in an interactive session.
    """
    point = 0
    while True:
        strike = _Strike(files, point)
        before = sys.gettrace()
        sys.settrace(strike.trace)
        try:
            task()
        except KeyboardInterrupt as interrupt:
            sys.settrace(before)
            yield interrupt
        finally:
            sys.settrace(before)
        if not strike.struck:
            return
        point += every
