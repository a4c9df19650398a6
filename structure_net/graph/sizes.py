"""The algebra of axis sizes: a size is a variable, a sum or a product of sizes.

Every axis of a traced network has an expression. A concatenation is a `Sum`; a flattened or a
multi-head axis is a `Prod` in row-major order. Operations `unify` the axes they align, which
refines both: a variable is cut into a sum or factored into a product until the two agree; what
cannot agree is frozen on both sides. At the end, the expressions that share a variable are the axes
that move together, and `lift` says how each of them moves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

UNKNOWN_OPERATION: Final = "which has no channel rule"


class Var:
    """One size that can change by itself, unless something froze it.

    Args:
        size: The size at the time of the trace, 2 or more.
        given: The size is an argument of an operation, so that the model's code may hold it as a
            literal.

    Attributes:
        bound: What the variable was refined to, or None while it stands for itself.
        reasons: Why it must not change, in the order found; empty while it may.
    """

    __slots__ = ("bound", "given", "reasons", "size")

    def __init__(self, size: int, *, given: bool = False) -> None:
        self.size = size
        self.given = given
        self.bound: Expr | None = None
        self.reasons: dict[str, None] = {}

    def __repr__(self) -> str:
        return f"{'#' if self.reasons else ''}{self.size}"

    @property
    def reason(self) -> str | None:
        """Why the variable is frozen (an operation without a rule before anything else), or
        None."""
        unknown = (why for why in self.reasons if UNKNOWN_OPERATION in why)
        return next(unknown, next(iter(self.reasons), None))


@dataclass(frozen=True, slots=True)
class Sum:
    """Parts that lie one behind the other."""

    parts: tuple[Expr, ...]

    def __repr__(self) -> str:
        return f"({' + '.join(map(repr, self.parts))})"


@dataclass(frozen=True, slots=True)
class Prod:
    """Factors in row-major order: the last one runs fastest."""

    factors: tuple[Expr, ...]

    def __repr__(self) -> str:
        return f"({' * '.join(map(repr, self.factors))})" if self.factors else "1"


Expr = Var | Sum | Prod
Sizes = Mapping[Var, int]

ONE: Final = Prod(())
_NOTHING: Final[Sizes] = {}


class _ClashError(Exception):
    """Two expressions cannot agree."""


def axis(size: int, reason: str | None = None, *, given: bool = False) -> Expr:
    """A fresh expression of a size: `ONE` for 1, else a variable, frozen if there is a
    ``reason``."""
    if size == 1:
        return ONE
    var = Var(size, given=given)
    if reason is not None:
        var.reasons[reason] = None
    return var


def resolve(expr: Expr) -> Expr:
    """The normal form: bindings followed, sums and products flat, a leading sum distributed over
    its product."""
    if isinstance(expr, Var):
        if expr.bound is None:
            return expr
        expr.bound = resolve(expr.bound)
        return expr.bound
    if isinstance(expr, Sum):
        parts = tuple(p for part in expr.parts for p in _flat(resolve(part), Sum))
        return parts[0] if len(parts) == 1 else Sum(parts)
    factors = tuple(f for factor in expr.factors for f in _flat(resolve(factor), Prod))
    if len(factors) == 1:
        return factors[0]
    if factors and isinstance(factors[0], Sum):
        return resolve(Sum(tuple(Prod((part, *factors[1:])) for part in factors[0].parts)))
    return Prod(factors)


def _flat(expr: Expr, kind: type[Sum | Prod]) -> tuple[Expr, ...]:
    if isinstance(expr, kind):
        return expr.parts if isinstance(expr, Sum) else expr.factors
    return (expr,)


def size_of(expr: Expr, sizes: Sizes = _NOTHING) -> int:
    """The value of an expression; ``sizes`` overrides the variables' sizes at trace time."""
    if isinstance(expr, Var):
        return sizes.get(expr, expr.size) if expr.bound is None else size_of(expr.bound, sizes)
    if isinstance(expr, Sum):
        return sum(size_of(part, sizes) for part in expr.parts)
    return math.prod(size_of(factor, sizes) for factor in expr.factors)


def leaves(expr: Expr) -> tuple[Var, ...]:
    """The variables of an expression, each as often as it occurs."""
    expr = resolve(expr)
    if isinstance(expr, Var):
        return (expr,)
    children = expr.parts if isinstance(expr, Sum) else expr.factors
    return tuple(leaf for child in children for leaf in leaves(child))


def freeze(expr: Expr, reason: str) -> None:
    """Forbids every variable of ``expr`` to change."""
    for leaf in leaves(expr):
        leaf.reasons[reason] = None


def unify(first: Expr, second: Expr, reason: str) -> bool:
    """Makes two axes the same one, refining both; freezes both with ``reason`` if they cannot be.

    Returns:
        Whether they agree.
    """
    try:
        _unify(first, second)
    except _ClashError:
        freeze(first, reason)
        freeze(second, reason)
        return False
    return True


def _unify(first: Expr, second: Expr) -> None:
    first, second = resolve(first), resolve(second)
    if first == second:
        return
    if size_of(first) != size_of(second):
        raise _ClashError
    if isinstance(first, Var):
        _bind(first, second)
    elif isinstance(second, Var):
        _bind(second, first)
    elif isinstance(first, Sum) or isinstance(second, Sum):
        _align_parts(list(_flat(first, Sum)), list(_flat(second, Sum)))
    else:
        _align_factors(list(_flat(first, Prod)), list(_flat(second, Prod)))


def _bind(var: Var, expr: Expr) -> None:
    found = leaves(expr)
    if var in found:
        raise _ClashError
    var.bound = expr
    for leaf in found:
        leaf.reasons.update(var.reasons)
        leaf.given = leaf.given or var.given


def _align_parts(first: list[Expr], second: list[Expr]) -> None:
    """Two concatenations, from the front: equal parts are unified, the longer of two is cut."""
    while first and second:
        one, two = resolve(first.pop(0)), resolve(second.pop(0))
        if isinstance(one, Sum) or isinstance(two, Sum):
            first[:0], second[:0] = _flat(one, Sum), _flat(two, Sum)
            continue
        short = min(size_of(one), size_of(two))
        if size_of(one) > short:
            one, rest = _cut(one, short)
            first.insert(0, rest)
        elif size_of(two) > short:
            two, rest = _cut(two, short)
            second.insert(0, rest)
        _unify(one, two)


def _align_factors(first: list[Expr], second: list[Expr]) -> None:
    """Two products, from the fastest factor: equal factors are unified, the larger of two is
    factored."""
    while first and second:
        one, two = resolve(first.pop()), resolve(second.pop())
        if isinstance(one, Prod) or isinstance(two, Prod):
            first += _flat(one, Prod)
            second += _flat(two, Prod)
            continue
        small = min(size_of(one), size_of(two))
        if size_of(one) > small:
            rest, one = _factor(one, small)
            first.append(rest)
        elif size_of(two) > small:
            rest, two = _factor(two, small)
            second.append(rest)
        _unify(one, two)


def _cut(expr: Expr, size: int) -> tuple[Expr, Expr]:
    if isinstance(expr, Var):
        head, tail = axis(size), axis(expr.size - size)
        _bind(expr, Sum((head, tail)))
        return head, tail
    if isinstance(expr, Prod) and expr.factors:
        rest = Prod(expr.factors[1:])
        if size % size_of(rest) == 0:
            front, back = _cut(expr.factors[0], size // size_of(rest))
            return Prod((front, rest)), Prod((back, rest))
    raise _ClashError


def _factor(expr: Expr, size: int) -> tuple[Expr, Expr]:
    if isinstance(expr, Var) and expr.size % size == 0:
        slow, fast = Var(expr.size // size), Var(size)
        _bind(expr, Prod((slow, fast)))
        return slow, fast
    raise _ClashError


def lift(expr: Expr, var: Var, source: Sequence[int], sizes: Sizes = _NOTHING) -> tuple[int, ...]:
    """Takes a map of ``var``'s units to the map of an axis.

    Args:
        expr: The axis.
        var: The variable that changes.
        source: For each unit after the edit, its old index, or -1 if it is new.
        sizes: The sizes before the edit.

    Returns:
        For each entry of the axis after the edit, its old index, or -1 if it is new.
    """
    expr = resolve(expr)
    if expr is var:
        return tuple(source)
    return tuple(_lift(expr, var, np.asarray(source, dtype=np.int64), sizes).tolist())


def _lift(expr: Expr, var: Var, source: NDArray[np.int64], sizes: Sizes) -> NDArray[np.int64]:
    if isinstance(expr, Var):
        return source if expr is var else np.arange(size_of(expr, sizes))
    if isinstance(expr, Sum):
        maps, offset = [], 0
        for part in expr.parts:
            inner = _lift(part, var, source, sizes)
            maps.append(np.where(inner < 0, -1, inner + offset))
            offset += size_of(part, sizes)
        return np.concatenate(maps)
    out = np.zeros(1, dtype=np.int64)
    for factor in expr.factors:
        inner = _lift(factor, var, source, sizes)
        outer = out[:, None]
        out = np.where(
            (outer < 0) | (inner < 0), -1, outer * size_of(factor, sizes) + inner
        ).ravel()
    return out


def units_of(expr: Expr, var: Var, sizes: Sizes = _NOTHING) -> tuple[int, ...]:
    """For each entry of an axis, the unit of ``var`` that it belongs to, or -1 if to none.

    Raises:
        ValueError: A product has ``var`` twice, so that an entry belongs to two units.
    """
    return tuple(_units(resolve(expr), var, sizes).tolist())


def _units(expr: Expr, var: Var, sizes: Sizes) -> NDArray[np.int64]:
    if isinstance(expr, Var):
        size = size_of(expr, sizes)
        return np.arange(size) if expr is var else np.full(size, -1)
    if isinstance(expr, Sum):
        return np.concatenate([_units(part, var, sizes) for part in expr.parts])
    if sum(var in leaves(factor) for factor in expr.factors) > 1:
        raise ValueError(
            f"The product {expr} has one variable twice; its entries belong to no single unit."
        )
    out = np.full(1, -1)
    for factor in expr.factors:
        out = np.maximum(out[:, None], _units(factor, var, sizes)).ravel()
    return out


def granularity(expr: Expr, var: Var, sizes: Sizes = _NOTHING) -> int:
    """How many entries an axis gains when ``var`` gains one unit."""
    now = sizes.get(var, var.size)
    return size_of(expr, {**sizes, var: now + 1}) - size_of(expr, sizes)
