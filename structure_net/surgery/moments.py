"""Steps that an edit takes in an optimizer, and that can be taken back: the state of one parameter,
and the groups of its parameters. What becomes of a state, `structure_net.core.moments` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor
from torch.optim import Optimizer

from structure_net.core.moments import Carry

_MOMENTUM: Final = "momentum_buffer"


@dataclass(frozen=True, slots=True)
class Follow:
    """How the state of one parameter follows one edit: its shape before, and the carry to the next
    shape.
    """

    shape: torch.Size
    carry: Carry


@dataclass(slots=True)
class ReplaceState:
    """Replaces what an optimizer remembers of one parameter."""

    optimizer: Optimizer
    parameter: Tensor
    state: dict[str, Any]
    _before: Any = field(default=None, init=False)

    def apply(self) -> None:
        """Puts the new state in place."""
        self._before = self.optimizer.state[self.parameter]
        self.optimizer.state[self.parameter] = self.state

    def revert(self) -> None:
        """Puts the state from before in place."""
        self.optimizer.state[self.parameter] = self._before


def _fused_momentum(optimizer: Optimizer, group: Mapping[str, Any]) -> bool:
    """Whether a newcomer must bring momentum: fused SGD wants that of all parameters or of none."""
    if not (group.get("fused") and group.get("momentum")):
        return False
    states = (optimizer.state.get(parameter, {}) for parameter in group["params"])
    return any(isinstance(state.get(_MOMENTUM), Tensor) for state in states)


@dataclass(slots=True)
class JoinGroup:
    """Adds a new parameter to the group of its neighbour; nothing happens in an optimizer without
    the neighbour.
    """

    optimizer: Optimizer
    new: Tensor
    near: Tensor
    _group: dict[str, Any] | None = field(default=None, init=False)

    def apply(self) -> None:
        """Appends the parameter, so that groups, learning rates and schedulers live on."""
        known = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        if id(self.new) in known:
            return
        for group in self.optimizer.param_groups:
            if any(p is self.near for p in group["params"]):
                begun = _fused_momentum(self.optimizer, group)
                group["params"] = [*group["params"], self.new]
                self._group = group
                if begun:
                    self.optimizer.state[self.new] = {_MOMENTUM: torch.zeros_like(self.new)}
                return

    def revert(self) -> None:
        """Takes it out again."""
        if self._group is not None:
            self._group["params"] = [p for p in self._group["params"] if p is not self.new]
            self.optimizer.state.pop(self.new, None)
