"""What is worked out once, and serves again as long as nothing but numbers change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import torch

_Plan = TypeVar("_Plan")

_MOST: Final = 16
"""Of one subject: both ways, for batches of some sizes."""


class Plans(Generic[_Plan]):
    """The plans for one subject, by who makes them and what they depend on beside it."""

    def __init__(self) -> None:
        self._made: dict[tuple[object, ...], _Plan] = {}

    def of(self, make: Callable[..., _Plan], subject: object, *how: Any) -> _Plan:
        """What ``make`` makes of the subject and of ``how``, at the first call only.

        Args:
            make: A function of a module. May ask for the number of threads, too.
            subject: Always the same.
            how: What else it depends on.
        """
        key = make, how, torch.get_num_threads()
        found = self._made.get(key)
        if found is None:
            if len(self._made) >= _MOST:
                self._made.clear()
            self._made[key] = found = make(subject, *how)
        return found
