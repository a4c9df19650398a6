"""What PyTorch and Python do for the whole process while a model is exported, kept to the thread
that exports it: others train, log and export meanwhile as ever.

One thing cannot be kept to a thread: the tracer of PyTorch sees every module that is called, and
calls it.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from io import StringIO
from threading import get_ident
from typing import Any

from torch.backends import mha
from torch.fx import graph_module
from torch.nn.modules import transformer

from structure_net.core.undoing import Undoing, replaced


def quiet(undo: Undoing) -> None:
    """Without the warnings, log entries and listings that an export writes for its developers,
    until ``undo`` undoes it."""
    unsaid = _Unsaid()
    undo.later(unsaid.leave)
    unsaid.enter()
    if sys.stderr is not None:
        replaced(undo, vars(sys), "stderr", _Stream(sys.stderr))
    unheard = _Unheard()
    for handler in _handlers():
        undo.later(partial(handler.removeFilter, unheard))
        handler.addFilter(unheard)


def plain(undo: Undoing, *, libraries: bool, operators: bool) -> None:
    """Operations as they train, until ``undo`` undoes it.

    The fused inference kernels of `nn.MultiheadAttention` are off. Transformers take a mask as it
    is: whether it is causal is a hint for kernels, for which PyTorch looks at its values. Graphs
    that are compiled within leave no source text behind: PyTorch keeps the text of each for good,
    so that a traceback can show it, and an export compiles several.

    Args:
        undo: Undoes it.
        libraries: Whether PyTorch switches oneDNN and cuDNN off, as its exports do for all threads:
            what others train with meanwhile is rounded in another way then.
        operators: Whether PyTorch puts functions of its own in the place of Python's ``max``,
            ``min`` and ``math.pow``, as its exports do for all threads: a kernel that numba
            compiles meanwhile fails then, and numba itself is broken for good if it is loaded.
    """
    from torch.export import _trace

    export, kept = vars(_trace), []
    kept += [] if libraries else ["_ignore_backend_decomps"]
    kept += [] if operators else ["_override_builtin_ops"]
    for name in kept:
        if name in export:
            replaced(undo, export, name, _here(nullcontext, export[name]))
    _replaced_here(undo, vars(mha), "get_fastpath_enabled", lambda: False)
    _replaced_here(undo, vars(transformer), "_detect_is_causal_mask", _as_given)
    replaced(undo, vars(graph_module), "_loader", _NoSources(graph_module._loader))


def _replaced_here(
    undo: Undoing, held: dict[str, Any], name: str, function: Callable[..., Any]
) -> None:
    replaced(undo, held, name, _here(function, held[name]))


def _here(function: Callable[..., Any], others: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` in this thread, and what ``others`` call."""
    thread = get_ident()

    def called(*args: Any, **named: Any) -> Any:
        return (function if get_ident() == thread else others)(*args, **named)

    return called


def _as_given(mask: object, is_causal: bool | None = None, size: int | None = None) -> bool:
    return is_causal is True


class _NoSources:
    """Stands in for PyTorch's store of the source text of graphs, and keeps none of this thread."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._thread = get_ident()

    def cache(self, *text: Any) -> str:
        """The name of the file in which the text is said to be."""
        if get_ident() != self._thread:
            name: str = self._store.cache(*text)
            return name
        return "<exported>"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class _Stream:
    """Stands in for a stream, and takes what this thread writes."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._own = StringIO()
        self._thread = get_ident()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own if get_ident() == self._thread else self._stream, name)


class _Unsaid:
    """Stands in a filter for the pattern of a text, and matches all warnings of this thread.

    Another thread that is within `warnings.catch_warnings` puts back the filters as it found them,
    perhaps with this one: it matches nothing any more then.
    """

    def __init__(self) -> None:
        self._thread: int | None = get_ident()

    def match(self, text: str) -> bool:
        """Whether a warning goes unsaid."""
        del text
        return get_ident() == self._thread

    def enter(self) -> None:
        """Goes before all other filters."""
        filters: Any = warnings.filters
        filters.insert(0, ("ignore", self, Warning, None, 0))
        vars(warnings)["_filters_mutated"]()

    def leave(self) -> None:
        """Goes from the filters."""
        self._thread = None
        filters: Any = warnings.filters
        filters[:] = [one for one in filters if one[1] is not self]
        vars(warnings)["_filters_mutated"]()


class _Unheard(logging.Filter):
    """Lets nothing of this thread through but errors beyond what a model may raise."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is heard."""
        return record.levelno > logging.ERROR or get_ident() != self._thread


def _handlers() -> Iterator[logging.Handler]:
    """Every handler that a log entry may reach."""
    if logging.lastResort is not None:
        yield logging.lastResort
    loggers = (logging.root, *list(logging.root.manager.loggerDict.values()))
    for logger in loggers:
        if isinstance(logger, logging.Logger):
            yield from list(logger.handlers)
