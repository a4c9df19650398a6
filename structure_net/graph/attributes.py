"""What integers a model keeps must be when a size changes, and what stands against the change.

Every equality between an axis and an integer of the code, every comparison in the model's own
forward, and every use of a size as a plain number is a requirement. For sizes that the model does
not have yet, the attributes are solved from the equalities and all requirements are checked. What
cannot be met freezes the axis; nothing is matched by value.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeGuard

import torch
from torch import nn

from structure_net.graph.declared import declared
from structure_net.graph.recording import CallRecord, Recording, call_of, follow
from structure_net.graph.sizes import Expr, Sizes, Var, freeze, resolve, size_of, unify
from structure_net.graph.sizes import leaves as variables_of
from structure_net.graph.tags import integers
from structure_net.graph.terms import (
    Attribute,
    Constant,
    Dimension,
    Measure,
    Term,
    UnknownValueError,
    evaluate,
    isolate,
    leaves,
    replace_dimensions,
)

__all__ = ["Attribute", "Requirements", "Seen", "TracedNode", "follow", "requirements"]


_SIZED: Final = frozenset((
    "view", "reshape", "_unsafe_view", "expand", "unflatten", "as_strided", "slice", "narrow",
    "split", "split_with_sizes", "chunk", "tensor_split", "repeat", "repeat_interleave", "tile",
    "broadcast_to",
))  # fmt: skip
_RELATIONS: Final = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class TracedNode:
    """One node of the exported graph with what is known of it.

    Args:
        node: The node.
        outputs: The axes of each tensor that it returns.
        module: The dotted name of the innermost module.
    """

    node: torch.fx.Node
    outputs: tuple[tuple[Expr, ...], ...]
    module: str


@dataclass(frozen=True, slots=True)
class Requirement:
    """Something that held while the model was traced and must go on to hold.

    Args:
        relation: ``==`` and so on between the two sides; ``number``: the left side keeps its value.
        left: One side.
        right: The other.
        outcome: Whether the relation held.
        place: Where: ``'view' of 'block.attention'``.
    """

    relation: str
    left: Term
    right: Term
    outcome: bool
    place: str

    @property
    def equality(self) -> bool:
        """Whether both sides are equal."""
        return (self.relation, self.outcome) in (("==", True), ("!=", False))

    def holds(self, left: int, right: int) -> bool:
        """Whether these values compare as the traced ones did."""
        return bool(_RELATIONS[self.relation](left, right)) is self.outcome

    def ends(self) -> tuple[Attribute | Dimension | Measure | Constant, ...]:
        """All terms at the ends of both sides."""
        return (*leaves(self.left), *leaves(self.right))


class Requirements:
    """All requirements of a traced model.

    Args:
        wanted: The requirements, their terms resolved to expressions.
        definitions: Attributes that follow a term and reach no operation.
        initial: The value of each attribute at trace time.
    """

    def __init__(
        self,
        wanted: Sequence[Requirement] = (),
        definitions: Mapping[Attribute, Term] | None = None,
        initial: Mapping[Attribute, int] | None = None,
    ) -> None:
        self._initial = dict(initial or {})
        self._definitions = dict(definitions or {})
        self._last: tuple[dict[Var, int], dict[Attribute, int]] | None = None
        self._wanted = tuple(wanted)
        self._by_attribute: dict[Attribute, list[Requirement]] = {}
        self._by_variable: dict[Var, list[Requirement]] | None = None
        for requirement in self._wanted:
            for end in set(requirement.ends()):
                if isinstance(end, Attribute):
                    self._by_attribute.setdefault(end, []).append(requirement)

    def objection(self, sizes: Sizes) -> str | None:
        """Why the model's code does not allow ``sizes``; None if it does.

        Args:
            sizes: The variables that change, with their new sizes.

        Returns:
            A noun phrase to stand behind "is fixed by".
        """
        values = self._solved(sizes)
        moved = [a for a, value in values.items() if value != self._initial[a]]
        for requirement in self._concerned(sizes, moved):
            complaint = self._complaint(requirement, sizes, {**self._initial, **values})
            if complaint is not None:
                return complaint
        return None

    def value(self, attribute: Attribute, sizes: Sizes) -> int:
        """What ``attribute`` must be at ``sizes``, to which `objection` must not object."""
        if self._last is None or self._last[0] != sizes:
            self._last = dict(sizes), self._solved(sizes)
        solved = self._last[1]
        if attribute not in solved and attribute in self._definitions:
            return evaluate(self._definitions[attribute], sizes, {**self._initial, **solved})
        return solved.get(attribute, self._initial[attribute])

    def attributes_of(self, var: Var, sizes: Sizes) -> tuple[Attribute, ...]:
        """The attributes that follow ``var`` when it changes from what it is at ``sizes``."""
        units = sizes.get(var, var.size)
        found: dict[Attribute, None] = {}
        for new in (units + 1, 2 * units):
            changed = {**sizes, var: new}
            moving = [*self._solved(changed), *self._definitions]
            now = {a: self.value(a, sizes) for a in moving if a not in found}
            found |= {a: None for a, value in now.items() if self.value(a, changed) != value}
        return tuple(found)

    def _solved(self, sizes: Sizes) -> dict[Attribute, int]:
        solved: dict[Attribute, int] = {}
        waiting = [r for r in self._concerned(sizes, ()) if r.equality]
        while waiting:
            found = [
                pair for r in waiting if (pair := self._solution(r, sizes, solved)) is not None
            ]
            fresh = {a: value for a, value in reversed(found) if a not in solved}
            if not fresh:
                return solved
            solved |= fresh
            moved = [a for a, value in fresh.items() if value != self._initial[a]]
            reached = [r for a in moved for r in self._by_attribute.get(a, ()) if r.equality]
            waiting = list(dict.fromkeys([*waiting, *reached]))
        return solved

    def _solution(
        self, requirement: Requirement, sizes: Sizes, solved: Mapping[Attribute, int]
    ) -> tuple[Attribute, int] | None:
        unknown = [e for e in requirement.ends() if isinstance(e, Attribute) and e not in solved]
        if len(unknown) != 1:
            return None
        side, other = requirement.left, requirement.right
        if unknown[0] not in leaves(side):
            side, other = other, side
        try:
            target = evaluate(other, sizes, solved)
            value = isolate(side, target, unknown[0], sizes, solved)
        except UnknownValueError:
            return None
        return None if value is None else (unknown[0], value)

    def _concerned(self, sizes: Sizes, moved: Iterable[Attribute]) -> list[Requirement]:
        if self._by_variable is None:
            self._by_variable = _indexed(self._wanted)
        found = [r for var in sizes for r in self._by_variable.get(var, ())]
        found += [r for attribute in moved for r in self._by_attribute.get(attribute, ())]
        return list(dict.fromkeys(found))

    def _complaint(
        self, requirement: Requirement, sizes: Sizes, values: Mapping[Attribute, int]
    ) -> str | None:
        left, right, place = requirement.left, requirement.right, requirement.place
        try:
            now = evaluate(left, sizes, values), evaluate(right, sizes, values)
        except UnknownValueError:
            return f"{place}, which cuts it at {right}"
        before = evaluate(left, {}, self._initial), evaluate(right, {}, self._initial)
        if requirement.relation == "number":
            return None if now[0] == before[0] else f"{place}, which takes {left} as a number"
        if requirement.equality:
            return None if now[0] == now[1] else _mismatch(requirement)
        if _of_degenerate_sizes(requirement) and requirement.holds(*now):
            return None
        return None if now == before else f"{place}, which compares {left} with {right}"


Seen = tuple[Recording, Sequence[TracedNode]]
"""One run of a model: what was recorded, and the nodes of its program and subprograms, in order."""


def requirements(
    model: nn.Module, seen: Iterable[Seen], tensors: Mapping[str, tuple[Expr, ...]]
) -> Requirements:
    """Brings what was recorded together with the axes of the traced programs.

    Axes that the code takes for one size are unified: they can only move together.

    Args:
        model: The model that was traced.
        seen: Its runs, in evaluation and in training mode.
        tensors: The axes of each parameter and buffer that the programs use, by canonical name.
    """
    wanted: dict[Requirement, None] = {}
    resolver = _Resolver((), tensors)
    for record, nodes in seen:
        resolver = _Resolver(nodes, tensors)
        resolver.freeze_hidden(record)
        wanted |= dict.fromkeys(resolver.requirements(record))
    _unify_equal(tuple(wanted))
    definitions = {a: resolver.resolve(term) for a, term in declared(model)}
    return Requirements(tuple(wanted), definitions, integers(model))


class _Resolver:
    """Replaces axes of recorded tensors by axes of the traced program."""

    def __init__(
        self, nodes: Iterable[TracedNode], tensors: Mapping[str, tuple[Expr, ...]]
    ) -> None:
        self._tensors = tensors
        self._nodes: dict[int, list[TracedNode]] = {}
        for traced in nodes:
            number = call_of(traced.node)
            self._nodes.setdefault(-1 if number is None else number, []).append(traced)

    def freeze_hidden(self, record: Recording) -> None:
        """Fixes axes on which PyTorch's own code used integers that were not followed."""
        understood = {call.number for call in record.calls if call.understood}
        for number, nodes in self._nodes.items():
            for traced in nodes if number not in understood else ():
                if _operation(traced.node) in _SIZED:
                    why = f"operation '{_operation(traced.node)}', whose sizes are out of sight"
                    for expr in (e for axes in traced.outputs for e in axes):
                        freeze(expr, why)

    def requirements(self, record: Recording) -> Iterable[Requirement]:
        for call in record.calls:
            place = self._place(call)
            # A call without nodes is dead code; the run behind an edit still meets it.
            for left, right in call.claims if call.number in self._nodes else ():
                yield Requirement("==", self.resolve(left), self.resolve(right), True, place)
            for term in call.numbers:
                yield Requirement("number", self.resolve(term), Constant(0), True, place)
        for term in record.notes.numbers:
            place = "arithmetic in the model's own code"
            yield Requirement("number", self.resolve(term), Constant(0), True, place)
        for seen in record.notes.comparisons:
            left, right = self.resolve(seen.left), self.resolve(seen.right)
            place = "a comparison in the model's own code"
            yield Requirement(seen.relation, left, right, seen.outcome, place)

    def resolve(self, term: Term) -> Term:
        return replace_dimensions(term, self._located)

    def _located(self, dimension: Dimension) -> Term:
        axes = self._axes(dimension)
        if axes is None or size_of(axes[dimension.dim]) != dimension.size:
            # An input of the model, or a tensor that the export left out: its size stays.
            return Constant(dimension.size if dimension.prefix is None else dimension.prefix)
        return Measure(axes[dimension.dim], dimension.prefix)

    def _axes(self, dimension: Dimension) -> tuple[Expr, ...] | None:
        if isinstance(dimension.source, str):
            return self._tensors.get(dimension.source)
        for traced in reversed(self._nodes.get(dimension.source, [])):
            if dimension.output < len(traced.outputs):
                axes = traced.outputs[dimension.output]
                if dimension.dim < len(axes):
                    return axes
        return None

    def _place(self, call: CallRecord) -> str:
        nodes = self._nodes.get(call.number)
        module = nodes[-1].module if nodes else ""
        return f"'{call.function}' of '{module}'" if module else f"'{call.function}'"


def _operation(node: torch.fx.Node) -> str:
    packet = getattr(node.target, "overloadpacket", node.target)
    return str(getattr(packet, "__name__", packet)).rpartition("::")[2]


def _unify_equal(wanted: Sequence[Requirement]) -> None:
    """Unifies axes that the code calls one size: two axes, or all that one attribute gives."""
    first: dict[Attribute, Expr] = {}
    for requirement in wanted:
        if not requirement.equality:
            continue
        left, right = requirement.left, requirement.right
        if _whole(left) and _whole(right):
            _tie(left.expr, right.expr, _taken(requirement.place, left.expr, right.expr))
        for one, two in ((left, right), (right, left)):
            if isinstance(one, Attribute) and _whole(two):
                expr = first.setdefault(one, two.expr)
                _tie(expr, two.expr, f"attribute {one}, which gives sizes that cannot be one")


def _tie(first: Expr, second: Expr, reason: str) -> None:
    """Unifies two axes, unless they have one size anyway, as ``2 * c`` and ``c * 2`` have."""
    variables = dict.fromkeys((*variables_of(first), *variables_of(second)))
    # Large sizes without a pattern tell any two expressions apart that are not always equal.
    trial = {var: 10_007 + 7 * i * i for i, var in enumerate(variables)}
    if size_of(first, trial) != size_of(second, trial):
        unify(first, second, reason)


def _taken(place: str, first: Expr, second: Expr) -> str:
    made = " and ".join(str(resolve(expr)).replace("#", "") for expr in (second, first))
    return (
        f"{place}, which takes one size of {size_of(first)} for another, though they are made as"
        f" {made} (write -1 for the one that follows from the others)"
    )


def _whole(term: Term) -> TypeGuard[Measure]:
    return isinstance(term, Measure) and term.prefix is None


def _indexed(wanted: Sequence[Requirement]) -> dict[Var, list[Requirement]]:
    found: dict[Var, list[Requirement]] = {}
    for requirement in wanted:
        ends = [end.expr for end in requirement.ends() if isinstance(end, Measure)]
        for var in dict.fromkeys(var for expr in ends for var in variables_of(expr)):
            found.setdefault(var, []).append(requirement)
    return found


def _of_degenerate_sizes(requirement: Requirement) -> bool:
    """Whether it asks for emptiness or a size of one, so that only its outcome counts."""
    literals = (e.value for e in (requirement.left, requirement.right) if isinstance(e, Constant))
    return any(value in (-1, 0, 1) for value in literals)


def _mismatch(requirement: Requirement) -> str:
    right = requirement.right
    if isinstance(right, Constant):
        way_out = "take it from a tensor's shape, or keep it as an attribute of the module"
        return f"{right} in {requirement.place} ({way_out})"
    return f"{requirement.place}, where {requirement.left} must be {right}"
