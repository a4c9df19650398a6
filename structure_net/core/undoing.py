"""What is done for a while and undone afterwards, wherever an interrupt strikes.

Ctrl-C raises between any two instructions: when a hook is registered and its handle not kept yet,
or on the first line of an `__exit__`. So what undoes a step is noted before the step, may run
twice, and runs in two nested blocks, since an interrupt ends one of them at most.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any, Final, Self

import torch
from torch import nn, overrides
from torch.overrides import TorchFunctionMode
from torch.utils import _python_dispatch as dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.hooks import RemovableHandle

_MISSING: Final = object()


class Undoing:
    """Undoes steps, the last one first, when its block is left.

    To be entered twice: ``with undo, undo:``. The outer block undoes what an interrupt of the inner
    one has left, and has nothing to do else.
    """

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.now()

    def later(self, step: Callable[[], object]) -> None:
        """Has ``step`` run when the block is left: once, or again if it was interrupted. What it
        raises is raised when all the others have run.

        To be called before what it undoes.
        """
        self._steps.append(step)

    def now(self) -> None:
        """Undoes what is to be undone."""
        while self._steps:
            try:
                self._steps[-1]()
            except Exception:
                # It would fail again; the steps before it are undone all the same.
                self._steps.pop()
                self.now()
                raise
            self._steps.pop()


def hooked(
    undo: Undoing,
    module: nn.Module,
    hook: Callable[..., Any],
    *,
    before: bool = False,
    **options: bool,
) -> RemovableHandle:
    """Registers a forward hook of a module, which is gone when ``undo`` has undone it.

    Args:
        undo: Takes the hook away.
        module: Is given the hook.
        hook: See `nn.Module.register_forward_hook`.
        before: Whether it runs in front of the module (`nn.Module.register_forward_pre_hook`).
        **options: Of torch's registration.
    """
    undo.later(partial(unhook, module, hook))
    register = module.register_forward_pre_hook if before else module.register_forward_hook
    return register(hook, **options)


def unhook(module: nn.Module, hook: Callable[..., Any]) -> None:
    """Takes a forward hook from a module by what it is: its handle may be lost."""
    for held in (module._forward_pre_hooks, module._forward_hooks):
        for key in [key for key, one in held.items() if one is hook]:
            module._forward_pre_hooks_with_kwargs.pop(key, None)
            module._forward_hooks_with_kwargs.pop(key, None)
            module._forward_hooks_always_called.pop(key, None)
            del held[key]


def replaced(undo: Undoing, held: MutableMapping[str, Any], name: str, value: object) -> None:
    """Puts a value under a name, until ``undo`` puts back what was there, or takes it away.

    Args:
        undo: Puts it back.
        held: The attributes of a module (``vars(module)``), or another mapping.
        name: Where in it.
        value: What stands there meanwhile.
    """
    undo.later(partial(_put, held, name, held.get(name, _MISSING)))
    held[name] = value


def _put(held: MutableMapping[str, Any], name: str, value: object) -> None:
    if value is _MISSING:
        held.pop(name, None)
    else:
        held[name] = value


def set_gradients(undo: Undoing, *, on: bool) -> None:
    """Has torch record what is computed in this thread, or not, until ``undo`` undoes it."""
    undo.later(partial(torch._C._set_grad_enabled, torch.is_grad_enabled()))
    torch._C._set_grad_enabled(on)


def moded(undo: Undoing, mode: TorchFunctionMode | TorchDispatchMode) -> None:
    """Enters a mode of torch in this thread, which is left when ``undo`` has undone it."""
    if isinstance(mode, TorchFunctionMode):
        stack, pop = overrides._get_current_function_mode_stack, overrides._pop_mode
    else:
        stack, pop = dispatch._get_current_dispatch_mode_stack, dispatch._pop_mode
        undo.later(partial(_unflag, {n: v for n, v in vars(dispatch).items() if _is_flag(n)}))
    undo.later(partial(_left, mode, stack, pop))
    mode.__enter__()  # type: ignore[no-untyped-call]  # torch's


def _left(mode: object, stack: Callable[[], list[Any]], pop: Callable[[], object]) -> None:
    """Leaves a mode as long as it is on torch's stack, with those that were entered within."""
    while any(one is mode for one in stack()):
        pop()


def _is_flag(name: str) -> bool:
    """Whether torch says under this name that a mode is on, which it would say for good if it were
    interrupted while one is entered."""
    return name.startswith("_is_in_")


def _unflag(flags: dict[str, bool]) -> None:
    vars(dispatch).update(flags)
    told = "_is_in_any_mode_without_ignore_compile_internals"
    tell = getattr(dispatch, "set_is_in_mode_without_ignore_compile_internals", None)
    if tell is not None:
        tell(flags[told])


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Holds Ctrl-C back until the block is over, so that it is done wholly or not at all.

    Only the main thread receives it; elsewhere, or under a handler of another kind, nothing is
    changed.
    """
    held: list[tuple[int, FrameType | None]] = []
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield
        return
    signal.signal(signal.SIGINT, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
        if held:
            previous(*held[0])
