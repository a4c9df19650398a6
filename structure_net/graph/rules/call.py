"""What a rule is given: one operation with its operands, and the ways to say what it does with
their axes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from structure_net.graph.channels import Role
from structure_net.graph.ledger import Axes, Contraction, Dim, LayerRecord, Ledger, Norm, Tag, Use
from structure_net.graph.sizes import (
    ONE,
    UNKNOWN_OPERATION,
    Expr,
    axis,
    freeze,
    leaves,
    size_of,
    unify,
)

SIZE_ONE: Final = Dim(ONE)
CONTRACTS: Final = "which contracts the channels without a parameter of their own"


@dataclass(frozen=True, slots=True)
class Operand:
    """One tensor that an operation reads.

    Args:
        step: The step that produces it.
        axes: Its axes.
        shape: Its sizes at trace time.
        boolean: Whether it holds booleans.
        name: The parameter's or buffer's canonical name, if it is one.
        tag: The stage of a hand-written normalisation that it is.
    """

    step: int
    axes: Axes
    shape: tuple[int, ...]
    boolean: bool = False
    name: str | None = None
    tag: Tag | None = None

    def expr(self, dim: int) -> Expr:
        """The size of one axis."""
        return self.axes[dim].expr

    @property
    def dims(self) -> int:
        """The number of axes."""
        return len(self.axes)


class Call:
    """One operation of a traced program.

    Args:
        ledger: Where the walk collects.
        operation: The ATen operation's name.
        arguments: Every argument by its name in the operation's schema, tensors as `Operand`.
        shapes: The sizes of each tensor that it returns.
        module: The dotted name of the innermost module.

    Attributes:
        tag: Set by a rule whose result is a stage of a hand-written normalisation.
        counts: Sizes that no axis of a result has, as a number of groups.
        read: Which of several results are read later.
    """

    def __init__(
        self,
        ledger: Ledger,
        operation: str,
        arguments: Mapping[str, Any],
        *,
        shapes: Sequence[tuple[int, ...]],
        module: str,
    ) -> None:
        self.ledger = ledger
        self.operation = operation
        self.arguments = arguments
        self.shapes = tuple(shapes)
        self.module = module
        self.step = len(ledger.steps)
        self.tag: Tag | None = None
        self.counts: tuple[Expr, ...] = ()
        self.read: frozenset[int] = frozenset()

    def __getitem__(self, name: str) -> Any:
        return self.arguments.get(name)

    def tensor(self, name: str) -> Operand:
        """The tensor of that name, which the operation requires."""
        operand = self.arguments[name]
        assert isinstance(operand, Operand)
        return operand

    @property
    def operands(self) -> tuple[Operand, ...]:
        """Every tensor argument, lists flattened, in order."""
        return tuple(_flatten(self.arguments.values()))

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the first tensor that it returns."""
        return self.shapes[0]

    def dim(self, value: int, count: int) -> int:
        """A dimension counted from the front."""
        return value % count if count else 0

    def unify(self, first: Expr, second: Expr) -> None:
        """Makes two axes the same one."""
        unify(first, second, f"operation '{self.operation}', whose axes do not align")

    def freeze(self, expr: Expr, why: str) -> None:
        """Fixes an axis: ``operation 'softmax', which mixes the channels``."""
        freeze(expr, self._says(why))

    def _says(self, why: str) -> str:
        owner, computes, _ = f".{self.module}".partition(".parametrizations.")
        where = f" in the parametrization of '{owner[1:]}'" if computes else ""
        return f"operation '{self.operation}'{where}, {why}"

    def freeze_unknown(self, expr: Expr) -> None:
        """Fixes an axis on which the operation has no rule."""
        self.freeze(expr, UNKNOWN_OPERATION)

    def fixed(self, size: int, why: str) -> Dim:
        """A new axis that must not change."""
        return Dim(axis(size, self._says(why)))

    def given(self, size: int) -> Dim:
        """A new axis whose size is an argument of the operation."""
        return Dim(axis(size, given=True))

    def use(self, dim: Dim, role: Role, operand: Operand | None = None) -> None:
        """Notes what the parameters behind an axis do here; ``operand``: what they read."""
        use = Use(role, self.step, None if operand is None else operand.step)
        for origin in dim.origins:
            uses = self.ledger.uses.setdefault(origin, [])
            if use not in uses:
                uses.append(use)

    def use_all(self, operand: Operand, role: Role) -> None:
        """Notes the same of every axis of a tensor."""
        for dim in operand.axes:
            self.use(dim, role)

    def contract(
        self, first: tuple[Operand, int], second: tuple[Operand, int], lead: Sequence[Dim] = ()
    ) -> None:
        """A sum of products over an axis of two tensors: whichever comes from parameters reads the
        other; where none does, new channels of one of them have to be zero.

        Args:
            first: A tensor and its axis.
            second: The other.
            lead: The axes that both have beside it.
        """
        (one, i), (two, j) = first, second
        self.unify(one.expr(i), two.expr(j))
        if self.learns(two.axes[j]):
            self.use(two.axes[j], Role.READS, one)
            self.use(one.axes[i], Role.WRITES)
        elif self.learns(one.axes[i]):
            self.use(one.axes[i], Role.READS, two)
            self.use(two.axes[j], Role.WRITES)
        elif one.axes[i].origins or two.axes[j].origins:
            self.freeze(one.expr(i), CONTRACTS)
        else:
            self.sums(one.expr(i), (one, two), lead)

    def sums(
        self,
        expr: Expr,
        operands: Sequence[Operand],
        lead: Sequence[Dim] = (),
        **kind: bool,
    ) -> None:
        """Notes a sum over an axis that no parameter reads; ``kind``: see `Contraction`."""
        if not all(var.reasons for var in leaves(expr)):
            sources = tuple(operand.step for operand in operands)
            beside = tuple(dim.expr for dim in lead)
            self.ledger.contractions.append(
                Contraction(expr, self.step, sources, self.operation, beside, **kind)
            )

    def learns(self, dim: Dim) -> bool:
        """Whether an axis is one of trained parameters, or of layers that rearrange themselves."""
        names = self.ledger.trainable | self.ledger.leaves
        return bool(dim.origins) and all(name in names for name, _ in dim.origins)

    def writes(self, dim: Dim) -> Dim:
        """The axis on which a weight writes its output; the output's axis."""
        self.use(dim, Role.WRITES)
        return Dim(dim.expr)

    def layer(self, weight: Operand, kind: str, output: Expr, name: str | None = None) -> None:
        """Notes a weight that writes ``output``; a computed weight goes by the module that applies
        it."""
        computed = f"{self.module}.weight" if self.module else None
        origins = (origin[0] for dim in weight.axes for origin in dim.origins)
        found = name or weight.name or next(origins, computed)
        if found is not None:
            self.ledger.layers.append(LayerRecord(found, kind, output, self.step, self.module))

    def norm(self, kind: str, expr: Expr, source: int, **rest: Any) -> int:
        """Notes a normalisation over ``expr``; its index."""
        rest = {"operation": self.operation, **rest}
        self.ledger.norms.append(Norm(kind, expr, self.step, source, self.module, **rest))
        return len(self.ledger.norms) - 1

    def mixes(self, x: Operand, dim: int) -> None:
        """Notes that each result depends on all channels of an axis, and not on how often each of
        them occurs if all occur equally often."""
        if x.axes[dim].origins:
            self.freeze(x.expr(dim), "which mixes a parameter's entries")
        elif not all(var.reasons for var in leaves(x.expr(dim))):
            self.norm("mixing", x.expr(dim), x.step)

    def wide(self, expr: Expr) -> bool:
        """Whether an axis holds more than the constant 1."""
        return size_of(expr) != 1


def _flatten(values: Iterable[Any]) -> Iterable[Operand]:
    for value in values:
        if isinstance(value, Operand):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _flatten(value)
