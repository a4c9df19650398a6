"""What an optimizer remembers of one parameter, across a change of that parameter, and how it lets
go of one.

State is carried for every optimizer whose state tensors have the parameter's shape (SGD with
momentum, Adam, AdamW with AMSGrad, RMSprop, Adagrad, NAdam, Rprop, ..., fused and foreach too), or
its shape with some axes reduced to one (Adafactor, whose factors follow a change of storage as the
mean squares that they stand for). Anything else is refused, with the reason,
before anything is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor
from torch.optim import Optimizer

from structure_net.errors import SurgeryError

Carry = Callable[[Tensor], Tensor]

_FACTORED: Final = frozenset({"row_var", "col_var", "variance"})
"""What Adafactor remembers: means of squares, or of their rows and columns."""


def carried_state(
    optimizer: Optimizer, state: dict[str, Any], shape: torch.Size, carry: Carry
) -> dict[str, Any]:
    """What an optimizer remembers of one parameter, after the parameter's edit.

    Args:
        optimizer: For the message.
        state: Its state for the parameter: tensors of the parameter's shape, 0-dim tensors, plain
            values.
        shape: The parameter's shape before the edit.
        carry: Takes a tensor of that shape to the new one.

    Returns:
        The new state, which shares no tensor with the old one.

    Raises:
        SurgeryError: A value is neither.
    """
    estimate = _estimate(state, len(shape))
    if estimate is not None:
        squares = carry(estimate.expand(shape))
        if squares.dim() != len(shape):
            others = {key: value for key, value in state.items() if key not in _FACTORED}
            return {
                **carried_state(optimizer, others, shape, carry),
                **_factors(squares),
            }
    return {key: _carried(optimizer, key, value, shape, carry) for key, value in state.items()}


def _estimate(state: Mapping[str, Any], dims: int) -> Tensor | None:
    """The mean squares of gradients that Adafactor takes of what it remembers of a parameter.

    Of a vector it remembers them, of matrices the means of their rows and columns. What goes from
    one to the other, as the weights of a sparse layer do where they change their storage, keeps
    the estimate. None where there is nothing of the kind.
    """
    if dims == 1 and isinstance(state.get("variance"), Tensor):
        variance: Tensor = state["variance"]
        return variance
    row, column = state.get("row_var"), state.get("col_var")
    if not isinstance(row, Tensor) or not isinstance(column, Tensor):
        return None
    mean = row.mean(-2, keepdim=True).clamp(min=torch.finfo(row.dtype).tiny)
    return row @ column / mean


def _factors(squares: Tensor) -> dict[str, Tensor]:
    """What Adafactor remembers of a parameter whose gradients have these mean squares."""
    if squares.dim() < 2:
        return {"variance": squares}
    return {"row_var": squares.mean(-1, keepdim=True), "col_var": squares.mean(-2, keepdim=True)}


def _carried(optimizer: Optimizer, key: str, value: Any, shape: torch.Size, carry: Carry) -> Any:
    if isinstance(value, Tensor):
        if value.dim() == 0:
            return value.clone()
        if value.shape == shape:
            return carry(value)
        reduced = [d for d, (a, b) in enumerate(zip(value.shape, shape, strict=False)) if a != b]
        if value.dim() == len(shape) and all(value.shape[d] == 1 for d in reduced):
            whole = carry(value.expand(shape))
            if whole.dim() == len(shape):
                return whole.amax(reduced, keepdim=True)
        raise SurgeryError(refusal(optimizer, f"{key!r} of shape {tuple(value.shape)}", shape))
    if value is None or isinstance(value, int | float | str | bool):
        return value
    raise SurgeryError(refusal(optimizer, f"{key!r} of type {type(value).__name__}", shape))


def refusal(optimizer: Optimizer, what: str, shape: torch.Size | None = None) -> str:
    """Why an optimizer's state cannot follow an edit."""
    of = "" if shape is None else f" for a parameter of shape {tuple(shape)}"
    return (
        f"{type(optimizer).__name__} remembers {what}{of}, which cannot follow an edit: state "
        "must be plain values or "
        "tensors of the parameter's shape. Use SGD, Adam, AdamW, RMSprop, Adagrad or Adafactor, "
        "or make a new "
        "optimizer after the edit."
    )


def held(optimizer: Optimizer) -> set[int]:
    """The identities of an optimizer's parameters."""
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}


def fits(state: dict[str, Any], shape: torch.Size) -> bool:
    """Whether every tensor of a state has the shape, or the shape with axes reduced to one."""
    tensors = [v for v in state.values() if isinstance(v, Tensor) and v.dim()]
    return all(
        v.dim() == len(shape) and all(a in (b, 1) for a, b in zip(v.shape, shape, strict=True))
        for v in tensors
    )


@dataclass(slots=True)
class LeaveGroup:
    """Takes a removed parameter, its name and its state out of an optimizer."""

    optimizer: Optimizer
    parameter: Tensor
    _before: tuple[dict[str, Any], dict[str, Any], Any] | None = field(default=None, init=False)

    def apply(self) -> None:
        """Removes the parameter where it is."""
        for group in self.optimizer.param_groups:
            places = [n for n, one in enumerate(group["params"]) if one is not self.parameter]
            if len(places) == len(group["params"]):
                continue
            state = self.optimizer.state.pop(self.parameter, None)
            lists: dict[str, Any] = {k: group[k] for k in ("params", "param_names") if k in group}
            self._before = (group, lists, state)
            for key, held_there in lists.items():
                group[key] = [held_there[n] for n in places if n < len(held_there)]
            return

    def revert(self) -> None:
        """Puts it back at its place."""
        if self._before is not None:
            group, lists, state = self._before
            group.update(lists)
            if state is not None:
                self.optimizer.state[self.parameter] = state
