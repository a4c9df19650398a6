"""Optimizers of a weight that got another form beside all edits of surgery, as when connections on
trial are accepted: what they remember of it follows before their next step.

Without that, an optimizer would keep moments of another length than its parameter, past whose end
the fused optimizers of PyTorch write. Until the first such change of a process nothing listens to
any step.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.weak import WeakIdKeyDictionary


@dataclass(frozen=True, slots=True)
class _Carried:
    """One change of a parameter: its place among all, the shape before, and how state follows."""

    number: int
    shape: torch.Size
    carry: Callable[[Tensor], Tensor]


class Carries:
    """The parameters that changed, how, and how far each optimizer has followed. Holds them
    weakly."""

    def __init__(self) -> None:
        self._changes = WeakIdKeyDictionary()
        self._followed: weakref.WeakKeyDictionary[Optimizer, int] = weakref.WeakKeyDictionary()
        self._last = 0
        self._listening = False

    def note(self, parameter: nn.Parameter, carry: Callable[[Tensor], Tensor]) -> None:
        """Has every optimizer of ``parameter`` follow its change.

        To be called before the parameter is written.

        Args:
            parameter: As it is before the change.
            carry: Takes a tensor of its shape to the new one; see `TensorChange.carry`.
        """
        if not self._listening:
            register_optimizer_step_pre_hook(lambda optimizer, *_: self.follow(optimizer))
            self._listening = True
        self._last += 1
        change = _Carried(self._last, parameter.shape, carry)
        self._changes[parameter] = (*self._changes.get(parameter, ()), change)

    @torch.no_grad()
    def follow(self, optimizer: Optimizer) -> None:
        """Carries what an optimizer remembers to the parameters as they are."""
        since = self._followed.get(optimizer, 0)
        if since == self._last:
            return
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                state: dict[str, Any] = optimizer.state.get(parameter, {})
                for change in self._changes.get(parameter, ()):
                    if change.number > since:
                        _carry(state, change)
        self._followed[optimizer] = self._last


def _carry(state: dict[str, Any], change: _Carried) -> None:
    for name, value in state.items():
        if isinstance(value, Tensor) and value.shape == change.shape:
            state[name] = change.carry(value)


CARRIES: Final = Carries()
