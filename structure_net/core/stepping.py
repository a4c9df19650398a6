"""The steps of an optimizer, as PyTorch wraps them, without a record for profilers where none is.

PyTorch opens a record in every step and in every reset of gradients, whoever listens: that takes
longer than a compiled loop needs to move some ten thousand numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from itertools import chain
from typing import Any, TypeVar

import torch
from torch.optim import Optimizer, optimizer

from structure_net.core.capturing import capturing

_Step = TypeVar("_Step", bound=Callable[..., Any])


def watched() -> bool:
    """Whether a profiler, or a compiler, wants to see what PyTorch's optimizers do."""
    return capturing() or torch._C._autograd._profiler_enabled()


def with_hooks(step: _Step) -> _Step:
    """The method ``step`` of an optimizer with the hooks before and behind it.

    PyTorch, which wraps the steps of all optimizers so, finds that it is done.
    """
    recorded: Any = Optimizer.profile_hook_step(step)

    @wraps(step)
    def hooked(*args: Any, **kwargs: Any) -> Any:
        if watched():
            return recorded(*args, **kwargs)
        moved = args[0]
        for before in chain(
            optimizer._global_optimizer_pre_hooks.values(),
            moved._optimizer_step_pre_hooks.values(),
        ):
            if (given := before(moved, args, kwargs)) is not None:
                args, kwargs = _arguments(given)
        result = step(*args, **kwargs)
        for after in chain(
            moved._optimizer_step_post_hooks.values(),
            optimizer._global_optimizer_post_hooks.values(),
        ):
            after(moved, args, kwargs)
        return result

    hooked.hooked = True  # type: ignore[attr-defined]  # read by torch
    return hooked  # type: ignore[return-value]  # it takes what the step takes


def _arguments(given: Any) -> tuple[Any, Any]:
    """The arguments that a hook gives for the step."""
    if not isinstance(given, tuple) or len(given) != 2:
        raise RuntimeError(
            "A hook before a step must return None or new positional and named arguments, "
            f"(args, kwargs); got {given!r}."
        )
    return given
