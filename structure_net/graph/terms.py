"""Where an integer comes from, as a value: an axis, an attribute, a literal, or arithmetic on them.

While a model runs, sizes travel through Python as integers: ``x.shape[-1]``, ``self.heads``, 64. A
`Term` says how such an integer was made, so that it can be computed for sizes that the model does
not have yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from structure_net.graph.sizes import Expr, Sizes, Sum, resolve, size_of

Operator = Literal["+", "-", "*", "//", "%"]


@dataclass(frozen=True, slots=True)
class Attribute:
    """An integer that a module keeps.

    Args:
        module: The dotted name of the module.
        name: The attribute.
        position: Its index, where the attribute is a tuple or a list.
    """

    module: str
    name: str
    position: int | None = None

    def __str__(self) -> str:
        where = f"'{self.module}.{self.name}'" if self.module else f"'{self.name}'"
        return where if self.position is None else f"{where}[{self.position}]"


@dataclass(frozen=True, slots=True)
class Dimension:
    """One axis of a tensor that the model's code held.

    Args:
        source: The number of the call that made the tensor, or a parameter's or buffer's name.
        output: Which of the call's tensors.
        dim: The axis, not negative.
        size: Its size.
        prefix: If not None, not the whole axis but its first ``prefix`` entries.
    """

    source: int | str
    output: int
    dim: int
    size: int
    prefix: int | None = None

    def __str__(self) -> str:
        return f"a size of {self.size}"


@dataclass(frozen=True, slots=True)
class Measure:
    """The size of an axis of the traced program; with ``prefix``, of its first entries."""

    expr: Expr
    prefix: int | None = None

    def __str__(self) -> str:
        return f"a size of {size_of(self.expr) if self.prefix is None else self.prefix}"


@dataclass(frozen=True, slots=True)
class Constant:
    """A number that stands in the code."""

    value: int

    def __str__(self) -> str:
        return f"the literal {self.value}"


@dataclass(frozen=True, slots=True)
class Combined:
    """Two terms under an operator."""

    operator: Operator
    left: Term
    right: Term

    def __str__(self) -> str:
        return f"({self.left} {self.operator} {self.right})"


Term = Attribute | Dimension | Measure | Constant | Combined
Values = Mapping[Attribute, int]


class UnknownValueError(ArithmeticError):
    """A term has no value at the sizes asked for."""


def leaves(term: Term) -> Iterator[Attribute | Dimension | Measure | Constant]:
    """All terms at the ends of ``term``."""
    if isinstance(term, Combined):
        yield from leaves(term.left)
        yield from leaves(term.right)
    else:
        yield term


def replace_dimensions(term: Term, replace: Callable[[Dimension], Term]) -> Term:
    """``term`` with every `Dimension` replaced."""
    if isinstance(term, Dimension):
        return replace(term)
    if isinstance(term, Combined):
        return Combined(
            term.operator,
            replace_dimensions(term.left, replace),
            replace_dimensions(term.right, replace),
        )
    return term


def evaluate(term: Term, sizes: Sizes, values: Values) -> int:
    """The integer that ``term`` gives.

    Args:
        term: A term without a `Dimension`.
        sizes: The variables' sizes that differ from those at trace time.
        values: The value of each attribute.

    Raises:
        UnknownValueError: A divisor is zero, or a prefix does not end where a part ends.
    """
    if isinstance(term, Constant):
        return term.value
    if isinstance(term, Measure):
        return _measure(term, sizes)
    if isinstance(term, Attribute):
        return values[term]
    assert isinstance(term, Combined)
    left, right = evaluate(term.left, sizes, values), evaluate(term.right, sizes, values)
    if term.operator in ("//", "%") and right == 0:
        raise UnknownValueError(f"{term} divides by zero.")
    return _OPERATIONS[term.operator](left, right)


def _measure(term: Measure, sizes: Sizes) -> int:
    if term.prefix is None:
        return size_of(term.expr, sizes)
    expr = resolve(term.expr)
    before = now = 0
    for part in expr.parts if isinstance(expr, Sum) else (expr,):
        if before >= term.prefix:
            break
        before += size_of(part)
        now += size_of(part, sizes)
    if before != term.prefix:
        raise UnknownValueError(f"The first {term.prefix} entries of {expr} are no whole parts.")
    return now


def isolate(
    term: Term, target: int, unknown: Attribute, sizes: Sizes, values: Values
) -> int | None:
    """The value of ``unknown`` for which ``term``, in which it occurs once, gives ``target``.

    A floor division ``a // b`` is solved for ``a`` as ``target * b``. None where no integer fits.
    """
    while isinstance(term, Combined):
        in_left = unknown in leaves(term.left)
        if in_left == (unknown in leaves(term.right)):
            return None
        known = evaluate(term.right if in_left else term.left, sizes, values)
        solved = _undo(term.operator, known, target, known_first=not in_left)
        if solved is None:
            return None
        target, term = solved, term.left if in_left else term.right
    return target if term == unknown else None


def _undo(operator: Operator, known: int, target: int, *, known_first: bool) -> int | None:
    """Solves ``known (operator) x = target``, or ``x (operator) known = target``, for ``x``."""
    match operator:
        case "+":
            return target - known
        case "-":
            return known - target if known_first else target + known
        case "*":
            return target // known if known and target % known == 0 else None
        case "//" if known_first:
            return known // target if target and known % target == 0 else None
        case "//":
            return target * known
        case "%":
            return None


_OPERATIONS: dict[Operator, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
}
