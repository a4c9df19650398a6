"""Follows integers through a model while it is exported: which of them reach which operation.

After `follow`, every call of a PyTorch function by the model's code gets a number, which the
nodes that it makes carry in the exported graph. So the claims about a call's integers can be
brought together with the axes of its nodes afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from structure_net.core.undoing import Undoing, hooked, moded, replaced
from structure_net.graph.claims import Claim, Invocation, claims
from structure_net.graph.tags import Notes, Tagged, tag_attributes, tagged
from structure_net.graph.terms import Combined, Constant, Dimension, Term, leaves

_KEY: Final = "structure_net_call"


@dataclass(frozen=True, slots=True)
class CallRecord:
    """What one call said about sizes.

    Args:
        number: The call's number.
        function: The function's name.
        claims: Equalities that hold whatever the sizes.
        numbers: Sizes and attributes that the function takes as plain numbers.
        understood: Whether it is known what the function's integers mean.
    """

    number: int
    function: str
    claims: tuple[Claim, ...]
    numbers: tuple[Term, ...]
    understood: bool


@dataclass(slots=True)
class Recording:
    """All calls of one run, and what happened to integers between them.

    Args:
        calls: Every call.
        notes: Comparisons and conversions in the model's own code.
    """

    calls: list[CallRecord] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)


def measured_calls(record: Recording) -> frozenset[int]:
    """The calls whose results' sizes became plain numbers or were compared."""
    terms = [*record.notes.numbers, *(term for call in record.calls for term in call.numbers)]
    terms += [term for seen in record.notes.comparisons for term in (seen.left, seen.right)]
    ends = (end for term in terms for end in leaves(term))
    return frozenset(
        e.source for e in ends if isinstance(e, Dimension) and isinstance(e.source, int)
    )


def call_of(node: torch.fx.Node) -> int | None:
    """The number of the call that made ``node``; None where it is not known."""
    number = (node.meta.get("custom") or {}).get(_KEY)
    return number if isinstance(number, int) else None


def follow(model: nn.Module, undo: Undoing) -> Recording:
    """Tags the integers of ``model`` and follows them until ``undo`` undoes it."""
    from torch.fx import traceback

    found = Recording()
    tag_attributes(model, found.notes, undo)
    _note_inside(model, found.notes, undo)
    replaced(undo, vars(traceback), "current_meta", traceback.current_meta.copy())
    replaced(undo, vars(traceback), "should_preserve_node_meta", True)
    moded(undo, _Recorder(model, found))
    return found


def _note_inside(model: nn.Module, notes: Notes, undo: Undoing) -> None:
    """Notes what happens while ``model`` runs, and not what the export does besides."""

    def begin(*_: Any) -> None:
        notes.active = True

    def end(*_: Any) -> None:
        notes.active = False

    hooked(undo, model, begin, before=True)
    hooked(undo, model, end, always_call=True)


class _Recorder(TorchFunctionMode):
    """Numbers calls, hands out tagged sizes, collects claims."""

    def __init__(self, model: nn.Module, record: Recording) -> None:
        super().__init__()
        self._model = model
        self._record = record
        self._count = 0
        # Tensors are kept, so that no other one can take their place in memory.
        self._origins: dict[int, tuple[Tensor, int | str, int]] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if not self._record.notes.active:
            return func(*args, **kwargs)
        self._record.notes.active = False
        try:
            return self._followed(func, args, kwargs)
        finally:
            self._record.notes.active = True

    def _followed(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        name = _name(func)
        if name in ("shape", "size"):
            return self._tagged_sizes(args[0], func(*args, **kwargs), args[1:], kwargs)
        if name in ("numel", "nelement", "__len__"):
            return self._tagged_count(args[0], func(*args, **kwargs), whole=name != "__len__")
        self._count += 1
        with _marked(self._count):
            result = func(*args, **kwargs)
        self._collect(name, args, kwargs, result)
        return result

    def _collect(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None:
        axes = tuple(self._adopt(t, i) for i, t in enumerate(_tensors(result)))
        found = claims(Invocation(name, args, kwargs, self._axes, axes))
        numbers: tuple[Term, ...] = ()
        if found is None:
            numbers = tuple({value.term: None for value in _tags((args, kwargs))})
        known = found is not None
        self._record.calls.append(CallRecord(self._count, name, tuple(found or ()), numbers, known))

    def _adopt(self, tensor: Tensor, output: int) -> tuple[Dimension, ...]:
        # A call that returns its operand, as `contiguous` may, leaves no node behind.
        self._origins.setdefault(id(tensor), (tensor, self._count, output))
        return self._axes(tensor)

    def _axes(self, tensor: Tensor) -> tuple[Dimension, ...]:
        if id(tensor) not in self._origins:
            self._origins[id(tensor)] = tensor, self._stored_name(tensor), 0
        _, source, output = self._origins[id(tensor)]
        return tuple(Dimension(source, output, i, int(s)) for i, s in enumerate(tensor.shape))

    def _stored_name(self, tensor: Tensor) -> str:
        for stored in (self._model.named_parameters(), self._model.named_buffers()):
            for name, candidate in stored:
                if candidate is tensor:
                    return name
        return ""

    def _tagged_sizes(
        self, tensor: Tensor, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        axes, notes = self._axes(tensor), self._record.notes
        if not isinstance(result, tuple):
            dim = args[0] if args else kwargs["dim"]
            return tagged(int(result), axes[dim], notes)
        return torch.Size([tagged(axis.size, axis, notes) for axis in axes])

    def _tagged_count(self, tensor: Tensor, result: int, *, whole: bool) -> int:
        axes = self._axes(tensor)
        term: Term = Constant(1)
        for axis in axes if whole else axes[:1]:
            term = axis if term == Constant(1) else Combined("*", term, axis)
        return tagged(int(result), term, self._record.notes)


def _name(func: Callable[..., Any]) -> str:
    name = func.__name__
    if name == "__get__":
        return str(getattr(getattr(func, "__self__", None), "__name__", name))
    return name


@contextmanager
def _marked(number: int) -> Iterator[None]:
    """Makes the nodes that the block adds to a traced graph carry ``number``."""
    from torch.fx.traceback import get_current_meta

    meta = get_current_meta()
    before = meta.get("custom")
    meta["custom"] = {**(before or {}), _KEY: number}
    try:
        yield
    finally:
        if before is None:
            del meta["custom"]
        else:
            meta["custom"] = before


def _tensors(result: Any) -> Iterator[Tensor]:
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, tuple | list):
        for entry in result:
            yield from _tensors(entry)


def _tags(value: Any) -> Iterator[Tagged]:
    if isinstance(value, Tagged):
        yield value
    elif isinstance(value, tuple | list):
        for entry in value:
            yield from _tags(entry)
    elif isinstance(value, dict):
        yield from _tags(tuple(value.values()))
    elif isinstance(value, slice):
        yield from _tags((value.start, value.stop, value.step))
