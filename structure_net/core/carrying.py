"""Optimizers of a weight that gets another form beside all edits of surgery, as when connections on
trial are accepted: what they remember of it follows at once.

Otherwise an optimizer would keep moments of another length than its parameter, past whose end the
fused optimizers of PyTorch write. Behind a change every state is that of the parameters as they
are, so that copies, checkpoints and optimizers that come later need not know of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from structure_net.core.changes import TensorChange
from structure_net.core.holders import HOLDERS
from structure_net.core.moments import LeaveGroup, carried_state, refusal
from structure_net.errors import SurgeryError


@dataclass(frozen=True, slots=True)
class Carried:
    """What an optimizer is to remember of a parameter."""

    optimizer: Optimizer
    parameter: nn.Parameter
    state: dict[str, Any]

    def write(self) -> None:
        """Has it remember that."""
        self.optimizer.state[self.parameter] = self.state


def carried(
    parameters: Mapping[str, nn.Parameter], changes: Iterable[TensorChange]
) -> tuple[Carried, ...]:
    """What all optimizers of some parameters are to remember behind changes of these.

    Writes nothing, but that optimizers first follow what they have yet to follow (edits of
    `structure_net.surgery`). To be called before the parameters are written.

    Args:
        parameters: By name.
        changes: Of these parameters; those of other tensors are passed over.

    Raises:
        SurgeryError: A state cannot follow.
    """
    follow = {id(parameters[c.tensor]): c.carry for c in changes if c.tensor in parameters}
    changed = [one for one in parameters.values() if id(one) in follow]
    with torch.no_grad():
        return tuple(
            _carried(optimizer, parameter, follow[id(parameter)])
            for optimizer in HOLDERS.of(changed)
            for parameter in changed
            if optimizer.state.get(parameter) or _flat(optimizer)
        )


def leaving(parameters: Iterable[nn.Parameter]) -> tuple[LeaveGroup, ...]:
    """What has all optimizers let go of parameters that a network no longer has; changes nothing.

    An optimizer with one history of all its parameters, of which these are a part, keeps them.

    Raises:
        SurgeryError: An optimizer has an edit to follow, and cannot.
    """
    gone = list(parameters)
    return tuple(
        LeaveGroup(optimizer, one)
        for optimizer in HOLDERS.of(gone)
        if not isinstance(optimizer, LBFGS)
        for one in gone
    )


def _carried(
    optimizer: Optimizer, parameter: nn.Parameter, carry: Callable[[Tensor], Tensor]
) -> Carried:
    if _flat(optimizer):
        raise SurgeryError(refusal(optimizer, "flat history of all parameters together"))
    state = carried_state(optimizer, optimizer.state[parameter], parameter.shape, carry)
    return Carried(optimizer, parameter, state)


def _flat(optimizer: Optimizer) -> bool:
    """Whether one history of all its parameters has begun."""
    return isinstance(optimizer, LBFGS) and bool(optimizer.state)
