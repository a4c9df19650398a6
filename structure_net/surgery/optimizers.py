"""Optimizers across edits: moments follow their parameters, whether the optimizer was handed over
or not.

An optimizer that was not handed over is brought up to date just before its next step, or before its
state is read (`state_dict`) or replaced (`load_state_dict`), or it is copied or pickled. It takes
newborn parameters into the group of their neighbour and drops removed ones. For that, the first
edit of a process looks for the optimizers that there are, and from then on notes those that are
made and copied (`structure_net.core.holders`). An edit is news to the optimizers that hold one of
its parameters at that time, and to no others: one that is made afterwards is as its maker wants it.
`structure_net.core.AveragedNetwork` is such an optimizer. Other weight averages
(`torch.optim.swa_utils.AveragedModel`) are copies of the model, and refuse to go on behind an edit
of the model alone: apply the same edit, with the same seed, to the average, or begin a new one.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, Final

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from structure_net.core.averaging import guard_averages
from structure_net.core.holders import HOLDERS
from structure_net.core.moments import LeaveGroup, carried_state, fits, held, refusal
from structure_net.core.once import Once
from structure_net.errors import SurgeryError
from structure_net.surgery.moments import Follow, JoinGroup, ReplaceState
from structure_net.surgery.wrappers import WRAPPERS


class Restores(list[Callable[[], None]]):
    """Takes back what optimizers did for one edit, once they were told of it."""


@dataclass(eq=False, slots=True)
class Record:
    """What one edit did to parameters, for the optimizers that hold them.

    Args:
        follows: Each changed parameter and how its state follows.
        born: Pairs of a new parameter and the one whose group it joins.
        gone: Removed parameters.
        number: Its place among all edits.
        restores: Where to note what takes back an optimizer's following; gone with the undo.
        followed: Who followed already: their state may be another's, too (Lookahead around
            another one). Held weakly, for the record waits for those that never step.
    """

    follows: list[tuple[Tensor, Follow]] = field(default_factory=list)
    born: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    gone: list[Tensor] = field(default_factory=list)
    number: int = 0
    restores: weakref.ref[Restores] | None = None
    followed: weakref.WeakSet[Optimizer] = field(default_factory=weakref.WeakSet)

    def touched(self) -> tuple[Tensor, ...]:
        """The parameters from before that the edit changed, removed or extended."""
        changed = [parameter for parameter, _ in self.follows]
        return (*changed, *(near for _, near in self.born), *self.gone)

    def concerns(self, optimizer: Optimizer) -> bool:
        """Whether the optimizer holds a parameter that the edit changed, removed or extended."""
        return not held(optimizer).isdisjoint(map(id, self.touched()))


def refuse_flat(optimizer: Optimizer, record: Record) -> None:
    """Refuses optimizers that keep one flat history of all their parameters.

    Raises:
        SurgeryError: It has such a history, or would have to take in or let go of parameters.
    """
    flat = isinstance(optimizer, torch.optim.LBFGS)
    if flat and (optimizer.state or record.born or record.gone) and record.concerns(optimizer):
        raise SurgeryError(refusal(optimizer, "flat history of all parameters together"))


@dataclass(slots=True)
class Follower:
    """What an optimizer has yet to follow.

    Args:
        since: The number of the last edit before it was noticed.
        missed: The edits, the oldest first.
        watched: Whether hooks see when its state is read or replaced.
        checked: Whether its state is known to belong to the parameters as they are.
    """

    since: int
    missed: list[Record] = field(default_factory=list)
    watched: bool = False
    checked: bool = True


class Log:
    """Which optimizers there are, and which edits each still has to follow. Holds them weakly."""

    def __init__(self) -> None:
        self._followers: weakref.WeakKeyDictionary[Optimizer, Follower] = (
            weakref.WeakKeyDictionary()
        )
        self._last = 0
        self._lock = RLock()
        self._listen = Once(self._begin)
        self._told: set[Callable[[Optimizer], None]] = set()

    def add(self, record: Record, handed: Sequence[Optimizer]) -> None:
        """Writes an edit down; the optimizers in ``handed`` followed it already."""
        self._listen()
        record.followed.update(handed)
        with self._lock:
            self._last += 1
            record.number = self._last
            followers = list(self._followers.items())
            WRAPPERS.note(record.number, record.touched())
        for optimizer, follower in followers:
            if not any(optimizer is one for one in handed) and record.concerns(optimizer):
                follower.missed.append(record)
                self._watch_state(optimizer, follower)

    def _begin(self) -> None:
        guard_averages()
        HOLDERS.tell(self._notice, copied=self._notice_copy)
        HOLDERS.ask_before(self.catch_up)
        register_optimizer_step_pre_hook(lambda optimizer, *_: self.catch_up(optimizer))

    def _notice(self, optimizer: Optimizer) -> None:
        if owner(optimizer) is optimizer:
            self._follower(optimizer)
            for made in tuple(self._told):
                made(optimizer)

    def _notice_copy(self, optimizer: Optimizer) -> None:
        if owner(optimizer) is optimizer:
            self._follower(optimizer, checked=False)

    def _follower(self, optimizer: Optimizer, *, checked: bool = True) -> Follower:
        """What an optimizer has yet to follow: nothing, where it is new."""
        with self._lock:
            return self._followers.setdefault(optimizer, Follower(self._last, checked=checked))

    def tell(self, made: Callable[[Optimizer], None]) -> None:
        """Calls ``made`` with every optimizer that is made from now on; equal ones once."""
        self._listen()
        self._told.add(made)

    def _watch_state(self, optimizer: Optimizer, follower: Follower) -> None:
        """State that is read or replaced is that of the parameters as they are."""

        def loaded(one: Optimizer, _: Any) -> None:
            self.catch_up(one)
            follower.checked = False

        if not follower.watched and hasattr(optimizer, "_optimizer_state_dict_pre_hooks"):
            optimizer.register_state_dict_pre_hook(self.catch_up)
            optimizer.register_load_state_dict_pre_hook(loaded)
            follower.watched = True

    def holders(self, parameters: Iterable[Tensor]) -> tuple[Optimizer, ...]:
        """The optimizers that hold any of ``parameters``, handed over or not, up to date."""
        self._listen()
        return HOLDERS.of(parameters)

    def withdraw(self, record: Record) -> None:
        """Strikes an edit that was undone."""
        WRAPPERS.withdraw(record.number, record.touched())
        with self._lock:
            followers = list(self._followers.values())
        for follower in followers:
            if record in follower.missed:
                follower.missed.remove(record)

    def catch_up(self, optimizer: Optimizer) -> None:
        """Lets an optimizer follow every edit since it last did.

        Raises:
            SurgeryError: Its state cannot follow, or belongs to a parameter whose edit it cannot
                know.
        """
        follower = self._followers.get(optimizer)
        if follower is None:  # unpickled or copied
            follower = self._follower(optimizer, checked=False)
        while follower.missed:
            self._follow(optimizer, follower.missed[0])
            del follower.missed[0]
        if not follower.checked:
            _check_fitting(optimizer)
            follower.checked = True

    @torch.inference_mode(False)
    @torch.no_grad()
    def _follow(self, optimizer: Optimizer, record: Record) -> None:
        refuse_flat(optimizer, record)
        done = any(optimizer.state is one.state for one in record.followed)
        steps: list[ReplaceState | JoinGroup | LeaveGroup] = [
            ReplaceState(optimizer, parameter, _followed(optimizer, parameter, follow))
            for parameter, follow in record.follows
            if optimizer.state.get(parameter) and not done
        ]
        steps += [
            JoinGroup(optimizer, new, near)
            for new, near in record.born
            if not self._taken(new, record.number)
        ]
        steps += [LeaveGroup(optimizer, parameter) for parameter in record.gone]
        restores = None if record.restores is None else record.restores()
        for step in steps:
            step.apply()
            if restores is not None:
                restores.append(step.revert)
        record.followed.add(optimizer)

    def _taken(self, new: Tensor, number: int) -> bool:
        """Whether an optimizer that was made after the edit holds the new parameter."""
        with self._lock:
            followers = list(self._followers.items())
        return any(
            follower.since >= number and id(new) in held(optimizer)
            for optimizer, follower in followers
        )


def _followed(optimizer: Optimizer, parameter: Tensor, follow: Follow) -> dict[str, Any]:
    state: dict[str, Any] = optimizer.state[parameter]
    if not fits(state, follow.shape):
        raise SurgeryError(_stale(optimizer, parameter))
    return carried_state(optimizer, state, follow.shape, follow.carry)


def _check_fitting(optimizer: Optimizer) -> None:
    if isinstance(optimizer, torch.optim.LBFGS):
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if not fits(optimizer.state.get(parameter, {}), parameter.shape):
                raise SurgeryError(_stale(optimizer, parameter))


def _stale(optimizer: Optimizer, parameter: Tensor) -> str:
    return (
        f"{type(optimizer).__name__} remembers tensors of another shape than its parameter of "
        f"shape {tuple(parameter.shape)}, and the edit between them is not known here: its state "
        "was saved before it, perhaps in another process. Hand the optimizer to the edit, or load "
        "a state that was saved behind it."
    )


LOG: Final = Log()


@dataclass(slots=True)
class Remember:
    """Writes an edit into the log of all optimizers."""

    record: Record
    handed: Sequence[Optimizer]
    log: Log = LOG
    _restores: Restores = field(default_factory=Restores, init=False)

    def apply(self) -> None:
        """Adds the record."""
        self.record.restores = weakref.ref(self._restores)
        self.log.add(self.record, self.handed)

    def revert(self) -> None:
        """Withdraws it, and takes back what optimizers did for it."""
        self.log.withdraw(self.record)
        while self._restores:
            self._restores.pop()()


def owner(optimizer: Optimizer) -> Optimizer:
    """The optimizer that holds groups and state: a wrapper, as accelerate puts around one, hands
    on what is asked of it.
    """
    while "param_groups" not in vars(optimizer):
        inner = vars(optimizer).get("optimizer")
        if not isinstance(inner, Optimizer):
            break
        optimizer = inner
    return optimizer


def optimizers_of(given: Optimizer | Iterable[Optimizer] | None) -> tuple[Optimizer, ...]:
    """One, several or no optimizers, as a tuple; inside wrappers, those that hold the state.

    Raises:
        TypeError: Something else was given.
    """
    if given is None:
        return ()
    several = (given,) if isinstance(given, Optimizer) else tuple(given)
    for one in several:
        if not isinstance(one, Optimizer):
            raise TypeError(f"optimizer must be a torch.optim.Optimizer; got {type(one).__name__}.")
    return tuple(owner(one) for one in several)
