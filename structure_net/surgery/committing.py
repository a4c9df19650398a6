"""Steps that each change one thing of a model or an optimizer, and can take it back.

A step's `apply` is atomic and computes nothing that could fail late: everything new was made
before. So a list of steps is all or nothing: when one raises, those before it are taken back in
reverse order, bit for bit.

Tensors keep their identity. A step swaps what stands behind the Python object
(`torch.utils.swap_tensors` does the same for a whole module), so that everyone who holds the
parameter sees the new values, while a graph recorded before the edit keeps the old ones. Backward
through such a graph raises with a message that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from structure_net.core.undoing import uninterrupted
from structure_net.errors import SurgeryError
from structure_net.graph.tags import held_in


class Step(Protocol):
    """One atomic change."""

    def apply(self) -> None:
        """Makes the change."""

    def revert(self) -> None:
        """Takes it back exactly."""


_latest: Final = WeakIdKeyDictionary()  # the number of the edit that touched an object last
_numbers: Final = count(1)


@dataclass(slots=True)
class Claim:
    """Notes what an edit touches, so that a later edit of the same is undone before it.

    Args:
        touched: Tensors and modules, each with its name for the message.
    """

    touched: Sequence[tuple[str, object]]
    number: int = field(default_factory=lambda: next(_numbers), init=False)
    _before: list[tuple[object, int | None]] = field(default_factory=list, init=False)

    def apply(self) -> None:
        """Takes them over."""
        self._before = [(thing, _latest.get(thing)) for _, thing in self.touched]
        for _, thing in self.touched:
            _latest[thing] = self.number

    def revert(self) -> None:
        """Hands them back to the edit before."""
        for thing, number in reversed(self._before):
            if number is None:
                _latest.pop(thing, None)
            else:
                _latest[thing] = number


class Undo:
    """Takes an edit back, bit for bit, once.

    Args:
        stack: What is to be done.
        claims: What the edit touched, of each of its parts.
    """

    def __init__(self, stack: ExitStack, claims: Iterable[Claim] = ()) -> None:
        self._stack: ExitStack | None = stack
        self.claims = tuple(claims)

    def undo(self) -> None:
        """Restores every tensor, gradient, attribute, module and optimizer state that the edit
        touched.

        Raises:
            SurgeryError: The edit was undone before, or a later edit that still stands touched the
                same; nothing was changed.
        """
        if self._stack is None:
            raise SurgeryError("This edit was undone before; an edit can be undone once.")
        self._check_last()
        with uninterrupted():
            stack, self._stack = self._stack, None
            stack.close()

    def _check_last(self) -> None:
        own = {claim.number for claim in self.claims}
        for claim in self.claims:
            for name, thing in claim.touched:
                if _latest.get(thing) not in own:
                    raise SurgeryError(
                        f"This edit cannot be undone yet: a later edit changed {name!r} too, or "
                        "what stands around it. Undo the later edits first, the last one first."
                    )

    def then(self, after: Undo) -> Undo:
        """One undo for two edits in a row; both are spent.

        Raises:
            SurgeryError: One of the two was undone or spent before.
        """
        first, second = self._stack, after._stack
        if first is None or second is None:
            raise SurgeryError("An edit that was undone cannot be joined with another.")
        self._stack = after._stack = None
        joined = ExitStack()
        joined.callback(first.close)
        joined.callback(second.close)
        return Undo(joined, (*self.claims, *after.claims))


def commit(steps: Iterable[Step]) -> Undo:
    """Applies all steps, or none of them when one raises; an interrupt waits for that."""
    claims: list[Claim] = []
    with uninterrupted(), ExitStack() as rollback:
        for step in steps:
            step.apply()
            rollback.callback(step.revert)
            claims += [step] if isinstance(step, Claim) else []
        return Undo(rollback.pop_all(), claims)


@dataclass(slots=True)
class SwapTensor:
    """Puts ``replacement`` behind the parameter or buffer ``tensor``, with its own gradient.

    Args:
        name: The tensor's dotted name, for the message.
        tensor: The object that stays.
        replacement: What it will hold; afterwards this holds what ``tensor`` held.
    """

    name: str
    tensor: Tensor
    replacement: Tensor
    _refusal: _Refusal | None = field(default=None, init=False)

    def apply(self) -> None:
        """Swaps, and makes backward through older graphs fail with a clear message."""
        if self.tensor.requires_grad:
            self._refusal = _Refusal(self.name)
            # The next forward pass gets a node of its own.
            node = torch.autograd.graph.get_gradient_edge(self.tensor).node
            node.register_prehook(self._refusal)
        self._swap()

    def revert(self) -> None:
        """Swaps back; older graphs are whole again."""
        self._swap()
        if self._refusal is not None:
            self._refusal.stands = False

    def _swap(self) -> None:
        torch._C._swap_tensor_impl(self.tensor, self.replacement)
        for hooks in ("_backward_hooks", "_post_accumulate_grad_hooks"):
            registered = getattr(self.tensor, hooks)
            if registered is not None:
                setattr(self.tensor, hooks, registered)


@dataclass(slots=True)
class KeepBuffer:
    """Notes under which names a buffer stands, so that undo finds it again.

    A model's code may put another tensor under the name while it trains, as in
    ``self.mean = 0.9 * self.mean + 0.1 * x.mean(0)``.
    """

    model: nn.Module
    buffer: Tensor
    _found: list[tuple[nn.Module, str]] = field(default_factory=list, init=False)

    def apply(self) -> None:
        """Notes the names."""
        self._found = [
            (module, name)
            for module in self.model.modules()
            for name, held in module._buffers.items()
            if held is self.buffer
        ]

    def revert(self) -> None:
        """Puts the buffer back under them."""
        for module, name in self._found:
            module._buffers[name] = self.buffer


@dataclass(slots=True)
class _Refusal:
    """Stands at the node that accumulates into a tensor, and raises as long as the edit stands: no
    handle is needed, which an interrupt could lose."""

    name: str
    stands: bool = True

    def __call__(self, _: tuple[Tensor, ...]) -> None:
        if self.stands:
            raise SurgeryError(
                "backward() runs through a graph that was recorded before an edit changed "
                f"{self.name!r}. Run the forward pass again after an edit, and call backward on "
                "the new loss."
            )


@dataclass(slots=True)
class SetValue:
    """Sets an attribute of a module; ``config.hidden_size`` is one of a configuration in it."""

    module: nn.Module
    name: str
    value: Any
    _before: Any = field(default=None, init=False)

    def apply(self) -> None:
        """Sets the value."""
        self._before = value_in(self.module, self.name)
        self._set(self.value)

    def revert(self) -> None:
        """Sets the value from before."""
        self._set(self._before)

    def _set(self, value: Any) -> None:
        if "." not in self.name:
            setattr(self.module, self.name, value)
            return
        held, key = held_in(self.module, self.name)
        held[key] = value


def value_in(module: nn.Module, name: str) -> Any:
    """An attribute of a module, or of a configuration that the module holds."""
    if "." not in name:
        return getattr(module, name)
    held, key = held_in(module, name)
    return held[key]


@dataclass(slots=True)
class Settle:
    """Lets a layer that rearranged itself bring its attributes up to date."""

    module: nn.Module
    settle: Callable[[], None]
    _before: dict[str, Any] = field(default_factory=dict, init=False)
    _registries: list[tuple[dict[Any, Any], dict[Any, Any]]] = field(
        default_factory=list, init=False
    )

    def apply(self) -> None:
        """Calls ``settle``; when that raises, the module is as before."""
        self._before = dict(vars(self.module))
        self._registries = [(v, dict(v)) for v in self._before.values() if isinstance(v, dict)]
        with ExitStack() as rollback:
            rollback.callback(self.revert)
            self.settle()
            rollback.pop_all()

    def revert(self) -> None:
        """Restores the module's attributes and registries."""
        vars(self.module).clear()
        vars(self.module).update(self._before)
        # The same objects, since the handles of hooks refer to them.
        for registry, content in self._registries:
            registry.clear()
            registry.update(content)
