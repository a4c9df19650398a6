"""Interrupts at every point where Python looks for them."""

from __future__ import annotations

import dis
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

import torch
from torch import nn
from torch.utils import _python_dispatch as dispatch

_BEHIND: Final = {"CALL", "CALL_FUNCTION_EX", "CALL_KW", "JUMP_BACKWARD", "RESUME"}
"""Instructions behind which Python runs the handlers of signals."""


class _Strike:
    """Raises an interrupt at one point of what runs in some files."""

    def __init__(self, files: tuple[str, ...], point: int, *, by_signal: bool) -> None:
        self._by_signal = by_signal
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
                    if not self._by_signal:
                        raise KeyboardInterrupt
                    signal.raise_signal(signal.SIGINT)
        return self._step


def interrupted_everywhere(
    task: Callable[[], object],
    files: tuple[str, ...],
    *,
    every: int = 1,
    by_signal: bool = False,
) -> Iterator[BaseException]:
    """Runs ``task`` again and again, with an interrupt at the next point each time, to its end.

    Args:
        task: Must not catch interrupts.
        files: How the names of the files end in which interrupts strike.
        every: Takes one point of so many.
        by_signal: Whether Python's handler of Ctrl-C is asked, which may hold it back.

    Yields:
        The interrupt, which holds what frames hold, as in an interactive session.
    """
    point = 0
    while True:
        strike = _Strike(files, point, by_signal=by_signal)
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


def state_of(network: nn.Module) -> dict[str, Any]:
    """What a look at a network must leave: its attributes and hooks, and torch's settings."""
    held = {
        name: {key: dict(v) if isinstance(v, dict) else v for key, v in vars(module).items()}
        for name, module in network.named_modules()
    }
    return {
        "attributes": held,
        "values": [(tensor, tensor.numpy().tobytes()) for tensor in network.buffers()],
        "gradients": torch.is_grad_enabled(),
        "functions": torch._C._len_torch_function_stack(),
        "operations": torch._C._len_torch_dispatch_stack(),
        "flags": {name: v for name, v in vars(dispatch).items() if name.startswith("_is_in_")},
        "random": torch.get_rng_state().numpy().tobytes(),
    }


def left_alone(
    network: nn.Module, task: Callable[[], object], files: tuple[str, ...], *, every: int = 1
) -> int:
    """How often ``task`` was interrupted, see `interrupted_everywhere`; each time it must have left
    the network and torch as they were."""
    before, count = state_of(network), 0
    for _held in interrupted_everywhere(task, (*files, "core/undoing.py"), every=every):
        count += 1
        after = state_of(network)
        for kind, expected in before.items():
            assert same(after[kind], expected), f"{kind} after interrupt {count}"
    return count


def same(one: Any, other: Any) -> bool:
    """Whether two states hold the same; tensors are compared by what they are."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, torch.Tensor) or isinstance(other, torch.Tensor):
        return one is other
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one is other or bool(one == other)
