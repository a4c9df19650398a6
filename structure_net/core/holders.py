"""The optimizers of a process, and which of them hold a parameter.

PyTorch keeps no list of them. The first question looks for those that there are; from then on those
that are made, copied or unpickled are noted: it wraps ``Optimizer.__init__``, ``__getstate__`` and
``__setstate__``.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from threading import RLock
from typing import Any, Final

from torch import Tensor
from torch.optim import Optimizer

from structure_net.core.moments import held
from structure_net.core.once import Once

Notice = Callable[[Optimizer], None]


class Holders:
    """Which optimizers there are. Holds them weakly; any thread may ask."""

    def __init__(self) -> None:
        self._known: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        self._told: list[tuple[Notice, Notice]] = []
        self._before: list[Notice] = []
        self._lock = RLock()
        self._listen = Once(self._begin)

    def tell(self, made: Notice, *, copied: Notice) -> None:
        """Calls ``made`` with every optimizer, those that there are and those that will be made.

        Args:
            made: Told of each once its constructor is done, in the thread that made it.
            copied: Told instead of each that is copied or unpickled from now on.
        """
        self._listen()
        with self._lock:
            self._told.append((made, copied))
            known = list(self._known)
        for optimizer in known:
            made(optimizer)

    def ask_before(self, catch_up: Notice) -> None:
        """Calls ``catch_up`` with each optimizer that `of` gives out, or that is copied, before."""
        self._before.append(catch_up)

    def of(self, parameters: Iterable[Tensor]) -> tuple[Optimizer, ...]:
        """The optimizers that hold any of ``parameters``, with all that they are to know."""
        self._listen()
        wanted = {id(parameter) for parameter in parameters}
        with self._lock:
            known = list(self._known)
        found = tuple(one for one in known if _whole(one) and not held(one).isdisjoint(wanted))
        for optimizer in found:
            self._catch_up(optimizer)
        return found

    def _catch_up(self, optimizer: Optimizer) -> None:
        for catch_up in tuple(self._before):
            catch_up(optimizer)

    def _begin(self) -> None:
        made, restored = Optimizer.__init__, Optimizer.__setstate__
        given: Callable[[Optimizer], dict[str, Any]] = Optimizer.__getstate__

        @wraps(made)
        def noticed(optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
            made(optimizer, *args, **kwargs)
            self._add(optimizer, copied=False)

        @wraps(restored)
        def noticed_again(optimizer: Optimizer, state: dict[str, Any]) -> None:
            restored(optimizer, state)
            self._add(optimizer, copied=True)

        @wraps(given)
        def caught_up(optimizer: Optimizer) -> dict[str, Any]:
            self._catch_up(optimizer)
            return given(optimizer)

        # Replaced on purpose: there are no hooks for the making and the copying of an optimizer.
        Optimizer.__getstate__ = caught_up  # type: ignore[method-assign, assignment]  # meant
        Optimizer.__init__ = noticed  # type: ignore[method-assign, assignment]  # meant
        Optimizer.__setstate__ = noticed_again  # type: ignore[method-assign, assignment]  # meant
        kinds = {Optimizer}
        while more := {kind for known in kinds for kind in known.__subclasses__()} - kinds:
            kinds |= more
        for one in _objects():
            if type(one) in kinds:
                self._add(one, copied=False)

    def _add(self, optimizer: Optimizer, *, copied: bool) -> None:
        with self._lock:
            if optimizer in self._known:
                return
            self._known.add(optimizer)
            told = list(self._told)
        for made, again in told:
            (again if copied else made)(optimizer)


def _objects() -> list[Any]:
    """All objects that the garbage collector knows, those that it was told to leave alone, too."""
    if not gc.get_freeze_count():
        return gc.get_objects()
    gc.unfreeze()
    try:
        return gc.get_objects()
    finally:
        gc.freeze()


def _whole(optimizer: Optimizer) -> bool:
    """Whether it holds groups itself: one in the making does not yet, a wrapper never does."""
    held_here: Mapping[str, Any] = vars(optimizer)
    return "param_groups" in held_here and "state" in held_here


HOLDERS: Final = Holders()
