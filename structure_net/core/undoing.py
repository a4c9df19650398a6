"""What is done for a while and undone afterwards, wherever an interrupt strikes.

Ctrl-C raises between any two instructions: when a hook is registered and its handle not kept yet,
or on the first line of an `__exit__`. So what undoes a step is noted before the step, may run
twice, and runs in two nested blocks, since an interrupt ends one of them at most.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Self

from torch import nn
from torch.utils.hooks import RemovableHandle


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
    undo.later(partial(_unhook, module, hook))
    register = module.register_forward_pre_hook if before else module.register_forward_hook
    return register(hook, **options)


def _unhook(module: nn.Module, hook: Callable[..., Any]) -> None:
    """Takes a hook from a module by what it is: its handle may be lost."""
    for held in (module._forward_pre_hooks, module._forward_hooks):
        for key in [key for key, one in held.items() if one is hook]:
            module._forward_pre_hooks_with_kwargs.pop(key, None)
            module._forward_hooks_with_kwargs.pop(key, None)
            module._forward_hooks_always_called.pop(key, None)
            del held[key]
