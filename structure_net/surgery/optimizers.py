"""Optimizers across edits: moments follow their parameters, whether the optimizer was handed over
or not.

State is carried for every optimizer whose state tensors have the parameter's shape (SGD with
momentum, Adam, AdamW with AMSGrad, RMSprop, Adagrad, NAdam, Rprop, ..., fused and foreach too), or
its shape with some axes reduced to one (Adafactor). Anything else is refused, with the reason,
before anything is touched.

An optimizer that was not handed over is brought up to date just before its next step, by a hook on
all optimizers that the first edit registers. It also takes newborn parameters into the group of
their neighbour and drops removed ones. Weight averages (`torch.optim.swa_utils.AveragedModel`) are
copies of the model: apply the same edit, with the same seed, to the average, or begin a new
average.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.weak import WeakIdKeyDictionary

from structure_net.errors import SurgeryError

Carry = Callable[[Tensor], Tensor]


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
        The new state; 0-dim tensors and plain values are the same objects.

    Raises:
        SurgeryError: A value is neither.
    """
    if isinstance(optimizer, torch.optim.LBFGS):
        raise SurgeryError(_refusal(optimizer, "flat history of all parameters together"))
    return {key: _carried(optimizer, key, value, shape, carry) for key, value in state.items()}


def _carried(optimizer: Optimizer, key: str, value: Any, shape: torch.Size, carry: Carry) -> Any:
    if isinstance(value, Tensor):
        if value.dim() == 0:
            return value
        if value.shape == shape:
            return carry(value)
        reduced = [d for d, (a, b) in enumerate(zip(value.shape, shape, strict=False)) if a != b]
        if value.dim() == len(shape) and all(value.shape[d] == 1 for d in reduced):
            return carry(value.expand(shape)).amax(reduced, keepdim=True)
        raise SurgeryError(_refusal(optimizer, f"{key!r} of shape {tuple(value.shape)}", shape))
    if value is None or isinstance(value, int | float | str | bool):
        return value
    raise SurgeryError(_refusal(optimizer, f"{key!r} of type {type(value).__name__}", shape))


def _refusal(optimizer: Optimizer, what: str, shape: torch.Size | None = None) -> str:
    of = "" if shape is None else f" for a parameter of shape {tuple(shape)}"
    return (
        f"{type(optimizer).__name__} remembers {what}{of}, which cannot follow an edit: state "
        "must be plain values or "
        "tensors of the parameter's shape. Use SGD, Adam, AdamW, RMSprop, Adagrad or Adafactor, "
        "or make a new "
        "optimizer after the edit."
    )


@dataclass(frozen=True, slots=True)
class Follow:
    """How the state of one parameter follows one edit: its shape before, and the carry to the next
    shape.
    """

    shape: torch.Size
    carry: Carry


@dataclass(eq=False, slots=True, weakref_slot=True)
class Record:
    """What one edit did to parameters, for the optimizers that were not handed over.

    Args:
        follows: Each changed parameter and how its state follows.
        born: Pairs of a new parameter and the one whose group it joins.
        gone: Removed parameters.
        number: Its place in the log.
        restores: Takes back what optimizers did since, in reverse order.
    """

    follows: list[tuple[Tensor, Follow]] = field(default_factory=list)
    born: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    gone: list[Tensor] = field(default_factory=list)
    number: int = 0
    restores: list[Callable[[], None]] = field(default_factory=list)


class Log:
    """The edits that optimizers may still have to follow. Parameters and optimizers are held
    weakly.
    """

    def __init__(self) -> None:
        self._follows: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self._born: dict[int, list[tuple[weakref.ref[Tensor], weakref.ref[Tensor]]]] = {}
        self._gone: dict[int, list[weakref.ref[Tensor]]] = {}
        self._records: weakref.WeakValueDictionary[int, Record] = weakref.WeakValueDictionary()
        self._seen: weakref.WeakKeyDictionary[Optimizer, int] = weakref.WeakKeyDictionary()
        self._last = 0
        self._listening = False

    def add(self, record: Record, handed: Sequence[Optimizer]) -> None:
        """Writes an edit down; the optimizers in ``handed`` followed it already."""
        if not self._listening:
            register_optimizer_step_pre_hook(lambda optimizer, *_: self.catch_up(optimizer))
            self._listening = True
        self._last += 1
        record.number = self._last
        self._records[self._last] = record
        for parameter, follow in record.follows:
            self._follows.setdefault(parameter, {})[self._last] = follow
        if record.born:
            pairs = [(weakref.ref(new), weakref.ref(near)) for new, near in record.born]
            self._born[self._last] = pairs
        if record.gone:
            self._gone[self._last] = [weakref.ref(parameter) for parameter in record.gone]
        for optimizer in handed:
            self._seen[optimizer] = self._last

    def withdraw(self, record: Record) -> None:
        """Strikes an edit that was undone, and takes back what optimizers did for it."""
        while record.restores:
            record.restores.pop()()
        for parameter, _ in record.follows:
            self._follows[parameter].pop(record.number, None)
        self._born.pop(record.number, None)
        self._gone.pop(record.number, None)

    def catch_up(self, optimizer: Optimizer) -> None:
        """Lets an optimizer follow every edit since it last did.

        Raises:
            SurgeryError: Its state cannot follow, or belongs to a parameter whose edit it cannot
                know.
        """
        since = self._seen.get(optimizer, 0)
        if since == self._last:
            return
        changes = [
            (parameter, self._followed(optimizer, parameter, since))
            for group in optimizer.param_groups
            for parameter in group["params"]
            if optimizer.state.get(parameter)
        ]
        for parameter, state in changes:
            if state is not None:
                self._note(since, ReplaceState(optimizer, parameter, state))
        for number in [n for n in self._born if n > since]:
            for new, near in self._born[number]:
                self._enter(optimizer, number, new(), near())
        for number in [n for n in self._gone if n > since]:
            for parameter in self._gone[number]:
                self._leave(optimizer, number, parameter())
        self._seen[optimizer] = self._last

    def _followed(
        self, optimizer: Optimizer, parameter: Tensor, since: int
    ) -> dict[str, Any] | None:
        """The parameter's state after all edits since, or None where nothing is to do."""
        state: dict[str, Any] = optimizer.state[parameter]
        edits: dict[int, Follow] = self._follows.get(parameter, {})
        missed = [edits[number] for number in sorted(edits) if number > since]
        if missed and _fits(state, missed[0].shape):
            for follow in missed:
                state = carried_state(optimizer, state, follow.shape, follow.carry)
            return state
        if _fits(state, parameter.shape):
            return None
        raise SurgeryError(
            f"{type(optimizer).__name__} remembers tensors of another shape than its parameter "
            "of shape "
            f"{tuple(parameter.shape)}, and the edit between them is not known here: it was "
            "copied or saved between "
            "an edit and its next step. Hand the optimizer to the edit, or copy it after a step."
        )

    def _note(self, since: int, step: ReplaceState) -> None:
        step.apply()
        self._undoable(since, step.revert)

    def _undoable(self, since: int, revert: Callable[[], None]) -> None:
        """Lets the first edit that was missed take this back when it is undone."""
        missed = [record for number, record in self._records.items() if number > since]
        if missed:
            min(missed, key=lambda record: record.number).restores.append(revert)

    def _enter(
        self, optimizer: Optimizer, number: int, new: Tensor | None, near: Tensor | None
    ) -> None:
        if new is None or near is None:
            return
        step = JoinGroup(optimizer, new, near)
        step.apply()
        if record := self._records.get(number):
            record.restores.append(step.revert)

    def _leave(self, optimizer: Optimizer, number: int, parameter: Tensor | None) -> None:
        if parameter is None:
            return
        step = LeaveGroup(optimizer, parameter)
        step.apply()
        if record := self._records.get(number):
            record.restores.append(step.revert)


def _fits(state: dict[str, Any], shape: torch.Size) -> bool:
    """Whether every tensor of a state has the shape, or the shape with axes reduced to one."""
    tensors = [v for v in state.values() if isinstance(v, Tensor) and v.dim()]
    return all(
        v.dim() == len(shape) and all(a in (b, 1) for a, b in zip(v.shape, shape, strict=True))
        for v in tensors
    )


LOG: Final = Log()


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
                group["params"] = [*group["params"], self.new]
                self._group = group
                return

    def revert(self) -> None:
        """Takes it out again."""
        if self._group is not None:
            self._group["params"] = [p for p in self._group["params"] if p is not self.new]
            self.optimizer.state.pop(self.new, None)


@dataclass(slots=True)
class LeaveGroup:
    """Takes a removed parameter and its state out of an optimizer."""

    optimizer: Optimizer
    parameter: Tensor
    _before: tuple[dict[str, Any], list[Tensor], Any] | None = field(default=None, init=False)

    def apply(self) -> None:
        """Removes the parameter where it is."""
        for group in self.optimizer.param_groups:
            if any(p is self.parameter for p in group["params"]):
                state = self.optimizer.state.pop(self.parameter, None)
                self._before = (group, group["params"], state)
                group["params"] = [p for p in group["params"] if p is not self.parameter]
                return

    def revert(self) -> None:
        """Puts it back at its place."""
        if self._before is not None:
            group, parameters, state = self._before
            group["params"] = parameters
            if state is not None:
                self.optimizer.state[self.parameter] = state


@dataclass(slots=True)
class Remember:
    """Writes an edit into the log of all optimizers."""

    record: Record
    handed: Sequence[Optimizer]
    log: Log = LOG

    def apply(self) -> None:
        """Adds the record."""
        self.log.add(self.record, self.handed)

    def revert(self) -> None:
        """Withdraws it."""
        self.log.withdraw(self.record)


def optimizers_of(given: Optimizer | Iterable[Optimizer] | None) -> tuple[Optimizer, ...]:
    """One, several or no optimizers, as a tuple.

    Raises:
        TypeError: Something else was given.
    """
    if given is None:
        return ()
    several = (given,) if isinstance(given, Optimizer) else tuple(given)
    for one in several:
        if not isinstance(one, Optimizer):
            raise TypeError(f"optimizer must be a torch.optim.Optimizer; got {type(one).__name__}.")
    return several
