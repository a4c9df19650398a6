"""Integers that remember where they come from, while a model runs.

For one run the integers that modules keep are replaced by `Tagged` ones, and sizes that are read
from tensors are handed out as `Tagged` ones too. What they are compared with and what they are
turned into is written down in `Notes`. This needs no list of attribute names, never matches values,
and tells a size that was read from a tensor from a literal.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from structure_net.core.sparsity import SparseLayer
from structure_net.core.undoing import Undoing, replaced
from structure_net.graph.terms import Attribute, Combined, Constant, Operator, Term


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two integers that the model's own code compared, and what came out."""

    relation: str
    left: Term
    right: Term
    outcome: bool


@dataclass(slots=True)
class Notes:
    """What happened to tagged integers outside of tensor operations.

    Args:
        comparisons: Each comparison once.
        numbers: Terms that became floats, or something else that cannot be followed.
        active: Whether the model's own code runs; nothing is noted otherwise.
    """

    comparisons: dict[Comparison, None] = field(default_factory=dict)
    numbers: dict[Term, None] = field(default_factory=dict)
    active: bool = False

    def compared(self, comparison: Comparison) -> None:
        """Notes a comparison."""
        if self.active and comparison.left != comparison.right:
            self.comparisons[comparison] = None

    def escaped(self, term: Term) -> None:
        """Notes that an integer became a plain number."""
        if self.active:
            self.numbers[term] = None


class Tagged(int):
    """An integer with the term that gives it; it computes and compares as the integer does."""

    term: Term
    notes: Notes

    __hash__ = int.__hash__

    def __deepcopy__(self, memo: dict[int, Any]) -> int:
        return int.__index__(self)

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        return int, (int.__index__(self),)


def tagged(value: int, term: Term, notes: Notes) -> Tagged:
    """``value`` as an integer that remembers ``term``."""
    result = Tagged(value)
    result.term, result.notes = term, notes
    return result


def term_of(value: int) -> Term:
    """What gives ``value``: its own term, or the literal that it is."""
    return value.term if isinstance(value, Tagged) else Constant(int(value))


def _plain(value: int) -> int:
    return int.__index__(value)


def _arithmetic(symbol: Operator, name: str, *, reflected: bool) -> Callable[[Tagged, Any], Any]:
    compute: Callable[[Any, Any], Any] = getattr(operator, name)

    def method(self: Tagged, other: Any) -> Any:
        if not isinstance(other, int) or isinstance(other, bool):
            if isinstance(other, float):
                self.notes.escaped(self.term)
            return NotImplemented
        left, right = (other, self) if reflected else (self, other)
        value = compute(_plain(left), _plain(right))
        return tagged(value, Combined(symbol, term_of(left), term_of(right)), self.notes)

    return method


def _comparison(relation: str, name: str) -> Callable[[Tagged, Any], Any]:
    compute: Callable[[Any, Any], bool] = getattr(operator, name)

    def method(self: Tagged, other: Any) -> Any:
        if not isinstance(other, int) or isinstance(other, bool):
            return NotImplemented
        outcome = compute(_plain(self), _plain(other))
        self.notes.compared(Comparison(relation, term_of(self), term_of(other), outcome))
        return outcome

    return method


def _negated(self: Tagged) -> Tagged:
    return tagged(-_plain(self), Combined("-", Constant(0), self.term), self.notes)


def _escape(name: str) -> Callable[..., Any]:
    plain: Callable[..., Any] = getattr(int, name)

    def method(self: Tagged, *others: Any) -> Any:
        self.notes.escaped(self.term)
        return plain(_plain(self), *others)

    return method


_ARITHMETIC: dict[Operator, str] = {
    "+": "add",
    "-": "sub",
    "*": "mul",
    "//": "floordiv",
    "%": "mod",
}
_RELATIONS = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
_ESCAPES = (
    *(f"__{name}__" for name in ("float", "int", "trunc", "round", "abs", "invert", "pow", "rpow")),
    *(f"__{name}__" for name in ("truediv", "rtruediv", "divmod", "rdivmod", "lshift", "rlshift")),
    *(f"__{name}__" for name in ("rshift", "rrshift", "and", "rand", "or", "ror", "xor", "rxor")),
)


def _equip() -> None:
    for symbol, name in _ARITHMETIC.items():
        setattr(Tagged, f"__{name}__", _arithmetic(symbol, name, reflected=False))
        setattr(Tagged, f"__r{name}__", _arithmetic(symbol, name, reflected=True))
    for relation, name in _RELATIONS.items():
        setattr(Tagged, f"__{name}__", _comparison(relation, name))
    Tagged.__neg__ = _negated  # type: ignore[method-assign, assignment]  # not an int
    for name in _ESCAPES:
        setattr(Tagged, name, _escape(name))


_equip()


def integers(model: nn.Module) -> dict[Attribute, int]:
    """All integers that the modules of ``model`` keep, alone or in tuples and lists of integers.

    Those of configurations that modules hold are among them, under the first module that holds one:
    ``Attribute("", "config.hidden_size")``. Sparse layers are left out: they keep their own
    attributes true.
    """
    found: dict[Attribute, int] = {}
    for path, prefix, held in holdings(model):
        for name, value in held.items():
            if _is_integer(value):
                found[Attribute(path, f"{prefix}{name}")] = value
            elif _is_integers(value):
                each = enumerate(value)
                found |= {Attribute(path, f"{prefix}{name}", i): entry for i, entry in each}
    return found


def held_in(module: nn.Module, name: str) -> tuple[MutableMapping[str, Any], str]:
    """Where an attribute is kept, and under which key; ``config.hidden_size`` is in the
    configuration that the module holds."""
    owner, _, key = name.rpartition(".")
    content = _content(vars(module)[owner]) if owner else vars(module)
    assert content is not None, name
    return content, key


def holdings(model: nn.Module) -> Iterator[tuple[str, str, MutableMapping[str, Any]]]:
    """The attributes of every module, and of every configuration that one holds, each once."""
    seen: set[int] = set()
    for path, module in model.named_modules():
        if isinstance(module, SparseLayer):
            continue
        yield path, "", vars(module)
        for name, value in list(vars(module).items()):
            content = None if name.startswith("_") else _content(value)
            if content is not None and id(content) not in seen:
                seen.add(id(content))
                yield path, f"{name}.", content


def _content(value: object) -> MutableMapping[str, Any] | None:
    """The entries of a dictionary or of a plain object, as a configuration is one."""
    if type(value) is dict:
        return value if all(type(key) is str and "." not in key for key in value) else None
    if isinstance(value, nn.Module | Tensor | type) or callable(value):
        return None
    plain = not type(value).__module__.startswith(("torch", "builtins"))
    return getattr(value, "__dict__", None) if plain else None


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_integers(value: object) -> bool:
    # Not their subclasses, such as torch.Size and named tuples.
    if not isinstance(value, tuple | list) or type(value) not in (tuple, list):
        return False
    return bool(value) and all(map(_is_integer, value))


def tag_attributes(model: nn.Module, notes: Notes, undo: Undoing) -> None:
    """Replaces the integers that modules keep by tagged ones, until ``undo`` puts back what was
    there."""
    for path, prefix, held in list(holdings(model)):
        for name, value in list(held.items()):
            replacement = _replacement(path, f"{prefix}{name}", value, notes)
            if replacement is not value:
                replaced(undo, held, name, replacement)


def _replacement(path: str, name: str, value: Any, notes: Notes) -> Any:
    if _is_integer(value):
        return tagged(value, Attribute(path, name), notes)
    if _is_integers(value):
        entries = (tagged(v, Attribute(path, name, i), notes) for i, v in enumerate(value))
        return type(value)(entries)
    return value
