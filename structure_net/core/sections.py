"""Named parts of a run, for whoever measures where its time goes.

`section` says which part of the work a block of code is. Where nobody listens, it reads one
variable and does nothing; no hook is installed anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Final, Protocol


class Sections(Protocol):
    """Listens to the sections of one thread."""

    def section(self, name: str) -> AbstractContextManager[object]:
        """What surrounds the block that ``name`` stands for; sections lie within each other."""


_LISTENER: ContextVar[Sections | None] = ContextVar("structure_net_sections", default=None)
_NOTHING: Final = nullcontext()


def section(name: str) -> AbstractContextManager[object]:
    """Marks a block as a part of the run.

    Args:
        name: Such as ``forward`` or ``analyzer StandardExtremaAnalyzer``, without a slash.
    """
    listener = _LISTENER.get()
    return _NOTHING if listener is None else listener.section(name)


def listening() -> bool:
    """Whether somebody listens to this thread."""
    return _LISTENER.get() is not None


@contextmanager
def listened_by(listener: Sections) -> Iterator[None]:
    """Tells ``listener`` of the sections of this thread until the block is over."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)
