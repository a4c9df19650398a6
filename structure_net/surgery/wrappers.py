"""Data parallel wrappers of networks that are edited: each has to be made again.

`DistributedDataParallel` hangs on the gradients of the parameters as it found them. An edit of the
network within leaves it with gradients that nobody fills: it would train one step without sharing
them, and fail at the next. From the first edit of a process on, its forward pass looks before.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, Final

from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.weak import WeakIdKeyDictionary

from structure_net.core.once import Once
from structure_net.errors import SurgeryError


class Wrappers:
    """Which parameters were edited, and which wrappers came after which edit. Holds them weakly."""

    def __init__(self) -> None:
        self._edits = WeakIdKeyDictionary()
        self._since: weakref.WeakKeyDictionary[DistributedDataParallel, int] = (
            weakref.WeakKeyDictionary()
        )
        self._last = 0
        self._listen = Once(self._begin)

    def note(self, number: int, touched: Iterable[Tensor]) -> None:
        """Notes an edit: its number among all, and the parameters that it changed."""
        self._listen()
        self._last = number
        for parameter in touched:
            self._edits[parameter] = self._edits.get(parameter, frozenset()) | {number}

    def withdraw(self, number: int, touched: Iterable[Tensor]) -> None:
        """Strikes an edit that was undone."""
        for parameter in touched:
            self._edits[parameter] = self._edits.get(parameter, frozenset()) - {number}

    def check(self, wrapper: DistributedDataParallel) -> None:
        """Refuses a wrapper whose parameters were edited since it was made.

        Raises:
            SurgeryError: They were.
        """
        since = self._since.get(wrapper, 0)
        for parameter in wrapper._module_parameters:
            if max(self._edits.get(parameter, ()), default=0) > since:
                raise SurgeryError(
                    "The network was edited since it was wrapped: this DistributedDataParallel"
                    " would not share the gradients any more. Wrap it again on every rank,"
                    " DistributedDataParallel(wrapper.module), behind the same edits with the same"
                    " seeds."
                )

    def _begin(self) -> None:
        """Replaces two methods on purpose: a wrapper has no hooks of this kind."""
        made: Callable[..., None] = DistributedDataParallel.__init__
        run: Callable[..., Any] = DistributedDataParallel.forward

        @wraps(made)
        def noticed(wrapper: DistributedDataParallel, *args: Any, **kwargs: Any) -> None:
            made(wrapper, *args, **kwargs)
            self._since[wrapper] = self._last

        @wraps(run)
        def checked(wrapper: DistributedDataParallel, *args: Any, **kwargs: Any) -> Any:
            self.check(wrapper)
            return run(wrapper, *args, **kwargs)

        kind: Any = DistributedDataParallel
        kind.__init__, kind.forward = noticed, checked


WRAPPERS: Final = Wrappers()
