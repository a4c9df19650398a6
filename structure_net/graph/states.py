"""What new channels hold, operation by operation, and so how a group of axes can grow.

New channels of a variable are followed through the program in an abstract state: they are zero, they equal the mean of
the old channels, or they are anything. That decides whether a normalisation over them stays exact, what has to be
written into new entries of each tensor, and which readers are free because what they read is zero.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Final

from structure_net.graph.channels import Fill, Growth, Role
from structure_net.graph.ledger import Ledger, Norm, Origin, Step, Use
from structure_net.graph.rules.elementwise import COPIES
from structure_net.graph.rules.reduction import POOLS, RESIZES
from structure_net.graph.sizes import Expr, Prod, Var, leaves, resolve


class State(Enum):
    """What the new channels of a tensor hold."""

    ZERO = "zero"
    MEAN = "mean"  # the mean of the old channels, position by position
    ANY = "any"
    BROKEN = "broken"  # not a finite number


KEEPING: Final = frozenset((
    *COPIES, "view", "reshape", "flatten", "unflatten", "_unsafe_view", "view_as", "reshape_as", "permute", "transpose",
    "swapaxes", "t", "numpy_T", "mT", "adjoint", "movedim", "unsqueeze", "squeeze", "expand", "expand_as", "repeat",
    "repeat_interleave", "split", "split_with_sizes", "chunk", "tensor_split", "slice", "narrow", "select", "unbind",
    "index_select", "index", "roll", "flip", "cumsum", "mean", "sum", "tril", "triu", "pixel_shuffle",
    "pixel_unshuffle", "im2col", "channel_shuffle", "cat", "concat", "stack", "broadcast_to", "tile",
    *(name for name in POOLS if "avg" in name), *(name for name in RESIZES),
))  # fmt: skip
"""Linear operations that treat every channel alike: zeros stay zeros, means stay means."""

ZERO_KEEPING: Final = frozenset((
    "relu", "relu6", "gelu", "silu", "tanh", "hardswish", "leaky_relu", "elu", "selu", "celu", "mish", "softsign",
    "abs", "sqrt", "square", "sin", "tan", "atan", "asinh", "sinh", "erf", "expm1", "log1p", "sign", "floor", "ceil",
    "round", "trunc", "hardshrink", "softshrink", "tanhshrink", "nan_to_num", "prelu", "_prelu_kernel", "hardtanh",
    "batch_norm", "_native_batch_norm_legit_no_training", "instance_norm", "group_norm", "rms_norm", "norm", "amax",
    "amin", "glu", "zeros_like", *(name for name in POOLS if "max" in name or "lp" in name),
))  # fmt: skip
"""Operations that turn zeros into zeros (normalisations with the fills that new channels get)."""

POLES: Final = frozenset(("log", "log2", "rsqrt", "reciprocal", "logit", "xlogy"))
"""Operations that are not finite at zero."""

VIEWS: Final = frozenset((
    "view", "reshape", "flatten", "unflatten", "permute", "transpose", "t", "unsqueeze", "squeeze", "expand", "split",
    "split_with_sizes", "chunk", "slice", "narrow", "select", "unbind", "alias", "detach",
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Expansion:
    """How one variable can change.

    Args:
        growth: How it grows.
        fills: What new entries of each parameter axis hold.
        refusal: Why it does not grow by any count, where ``growth`` is `Growth.DOUBLING`.
        doubling_refusal: Why copying is not exact, or None.
        reason: Why it cannot change at all, or None.
    """

    growth: Growth
    fills: Mapping[Origin, Fill] = field(default_factory=dict)
    refusal: str | None = None
    doubling_refusal: str | None = None
    reason: str | None = None


class _RefusalError(Exception):
    """A way of growing that is not exact."""


class Expansions:
    """The ways in which the variables of a ledger can change; computed when asked, kept.

    Args:
        ledger: What a walk collected.
        compensable: For each normalisation, None if its gain and epsilon can follow, else why not.
    """

    def __init__(self, ledger: Ledger, compensable: Mapping[int, str | None]) -> None:
        self.ledger = ledger
        self.compensable = compensable
        self._known: dict[Var, Expansion] = {}

    def of(self, var: Var) -> Expansion:
        """How ``var`` can change."""
        if var not in self._known:
            self._known[var] = self._expansion(var)
        return self._known[var]

    @cached_property
    def origins(self) -> dict[Var, list[Origin]]:
        """The parameter axes that each variable is part of."""
        out: dict[Var, list[Origin]] = {}
        for name, exprs in self.ledger.tensors.items():
            for i, expr in enumerate(exprs):
                for var in dict.fromkeys(leaves(expr)):
                    out.setdefault(var, []).append((name, i))
        return out

    @cached_property
    def steps(self) -> dict[Var, list[int]]:
        """The steps whose results span each variable."""
        out: dict[Var, list[int]] = {}
        for index, step in enumerate(self.ledger.steps):
            for var in dict.fromkeys(
                v for axes in step.outputs for dim in axes for v in leaves(dim.expr)
            ):
                out.setdefault(var, []).append(index)
        return out

    @cached_property
    def uses_by_step(self) -> dict[int, list[tuple[Origin, Use]]]:
        """What parameters do, by step."""
        out: dict[int, list[tuple[Origin, Use]]] = {}
        for origin, uses in self.ledger.uses.items():
            for use in uses:
                out.setdefault(use.step, []).append((origin, use))
        return out

    def norms(self, var: Var) -> list[tuple[int, Norm]]:
        """The normalisations over an axis that ``var`` is part of."""
        return [(i, norm) for i, norm in enumerate(self.ledger.norms) if var in leaves(norm.expr)]

    def expr(self, origin: Origin) -> Expr:
        """The size of a parameter axis."""
        return resolve(self.ledger.tensors[origin[0]][origin[1]])

    def _expansion(self, var: Var) -> Expansion:
        if var.reason is not None:
            return Expansion(Growth.FREE, reason=var.reason)
        doubling_refusal = self._doubling_refusal(var)
        try:
            growth, fills = self._growth(var)
        except _RefusalError as refusal:
            if doubling_refusal is not None:
                return Expansion(Growth.DOUBLING, reason=f"{refusal}; and {doubling_refusal}")
            return Expansion(Growth.DOUBLING, self._copies(var), str(refusal))
        return Expansion(growth, fills, doubling_refusal=doubling_refusal)

    def _copies(self, var: Var) -> dict[Origin, Fill]:
        reads = {Role.READS}
        return {
            origin: Fill.ZERO
            if {u.role for u in self.ledger.uses[origin]} == reads
            else Fill.RANDOM
            for origin in self.origins[var]
        }

    def _tied(self, origin: Origin) -> bool:
        roles = {use.role for use in self.ledger.uses[origin]}
        return Role.READS in roles and len(roles) > 1

    def _doubling_refusal(self, var: Var) -> str | None:
        for origin in self.origins.get(var, ()):
            if self._tied(origin):
                return f"'{origin[0]}' both writes and reads these channels, so that copies cannot be halved"
        for _, norm in self.norms(var):
            if not _uniform(norm.expr, var):
                return f"the normalisation in '{norm.module}' also spans channels that would not be copied"
        return None

    def _growth(self, var: Var) -> tuple[Growth, dict[Origin, Fill]]:
        norms = self.norms(var)
        kinds = {norm.kind for _, norm in norms}
        for index, norm in norms:
            why = self.compensable.get(index)
            if why is not None:
                raise _RefusalError(f"the normalisation in '{norm.module}' {why}")
        if len(kinds) > 1:
            raise _RefusalError("both a LayerNorm and an RMSNorm read these channels")
        growth = {"layer": Growth.CENTRED, "rms": Growth.SCALED}.get(
            next(iter(kinds), ""), Growth.FREE
        )
        return growth, _Pass(self, var, growth).fills()


def _uniform(expr: Expr, var: Var) -> bool:
    """Whether copying all of ``var`` repeats the whole axis."""
    expr = resolve(expr)
    if isinstance(expr, Var):
        return expr is var
    if isinstance(expr, Prod):
        return any(_uniform(factor, var) for factor in expr.factors)
    return all(_uniform(part, var) for part in expr.parts)


class _Pass:
    """One walk over the steps that span a variable, in one way of growing."""

    def __init__(self, known: Expansions, var: Var, growth: Growth) -> None:
        self.known, self.ledger, self.var, self.growth = known, known.ledger, var, growth
        self.streams = {resolve(norm.expr) for _, norm in known.norms(var)}
        self.norm_steps = {norm.step: norm for _, norm in known.norms(var)}
        self.written: dict[Origin, Fill] = {}
        self.states: dict[int, State] = {}

    def fills(self) -> dict[Origin, Fill]:
        """What new entries of every parameter axis hold.

        Raises:
            _RefusalError: The function would not be kept.
        """
        origins = self.known.origins.get(self.var, [])
        self.written = {origin: self._written(origin) for origin in origins}
        self._follow()
        tied = [o for o in origins if self.known._tied(o) and not self._reads_zero(o)]
        if tied:
            self._silence(tied)
            self._follow()
        return {origin: self._fill(origin) for origin in origins}

    def _silence(self, tied: list[Origin]) -> None:
        others = [
            o
            for o, fill in self.written.items()
            if fill is Fill.RANDOM and o not in tied and self._writes(o)
        ]
        if (
            self.growth is not Growth.FREE
            or not others
            or any(o[0] in self.ledger.leaves for o in tied)
        ):
            raise _RefusalError(f"'{tied[0][0]}' both writes and reads these channels")
        self.written.update(dict.fromkeys(tied, Fill.ZERO))

    def _writes(self, origin: Origin) -> bool:
        return any(use.role is Role.WRITES for use in self.ledger.uses[origin])

    def _written(self, origin: Origin) -> Fill:
        roles = {use.role for use in self.ledger.uses[origin]}
        if Role.WRITES in roles:
            return self._writer(origin)
        if roles == {Role.READS}:
            return Fill.ZERO
        return Fill.ZERO if roles & {Role.SHIFTS, Role.MEAN} else Fill.ONE

    def _writer(self, origin: Origin) -> Fill:
        if self.growth is Growth.FREE or self.known.expr(origin) not in self.streams:
            return Fill.RANDOM
        if self.growth is Growth.SCALED:
            return Fill.ZERO
        if origin[0] in self.ledger.leaves:
            raise _RefusalError(f"the layer '{origin[0]}' cannot write the mean of its channels")
        return Fill.MEAN

    def _reads_zero(self, origin: Origin) -> bool:
        sources = [use.operand for use in self.ledger.uses[origin] if use.role is Role.READS]
        return all(
            source is not None and self.states.get(source) is State.ZERO for source in sources
        )

    def _fill(self, origin: Origin) -> Fill:
        if {use.role for use in self.ledger.uses[origin]} == {Role.READS}:
            return Fill.RANDOM if self._reads_zero(origin) else Fill.ZERO
        return self.written[origin]

    def _follow(self) -> None:
        self.states = {}
        for index in self.known.steps.get(self.var, ()):
            step = self.ledger.steps[index]
            state = self._state(index, step)
            self.states[index] = state
            if state is State.BROKEN:
                raise _RefusalError(
                    f"operation '{step.operation}' is not finite for channels that are zero"
                )
            if index in self.ledger.in_place:
                self._write_back(step, state)

    def _write_back(self, step: Step, state: State) -> None:
        """What is written in place changes the tensors that it is a view of."""
        source = step.inputs[0] if step.inputs else None
        while source is not None and self.states.get(source, state) is not state:
            self.states[source] = State.ANY
            origin = self.ledger.steps[source]
            source = origin.inputs[0] if origin.operation in VIEWS and origin.inputs else None

    def _state(self, index: int, step: Step) -> State:
        if index in self.norm_steps:
            return self._normalised(self.norm_steps[index])
        name = self.ledger.parameter_steps.get(index)
        if name is not None:
            return self._parameter(name)
        if any(use.role in (Role.WRITES, Role.READS) for _, use in self._uses(index)) and step.operation not in (
            "add", "sub", "rsub", "cat", "stack", "copy",
        ):  # fmt: skip
            return self._product(index, step)
        return self._operation(step)

    def _uses(self, index: int) -> list[tuple[Origin, Use]]:
        uses = self.known.uses_by_step.get(index, ())
        return [
            (origin, use) for origin, use in uses if self.var in leaves(self.known.expr(origin))
        ]

    def _normalised(self, norm: Norm) -> State:
        needed = State.MEAN if norm.kind == "layer" else State.ZERO
        if self.states.get(norm.source) is not needed:
            what = "the mean of the others" if needed is State.MEAN else "zero"
            raise _RefusalError(
                f"new channels cannot be kept {what} before the normalisation in '{norm.module}'"
            )
        return State.ZERO

    def _parameter(self, name: str) -> State:
        fills = {fill for origin, fill in self.written.items() if origin[0] == name}
        only = fills.pop() if len(fills) == 1 else None
        return {Fill.ZERO: State.ZERO, Fill.MEAN: State.MEAN}.get(only or Fill.RANDOM, State.ANY)

    def _product(self, index: int, step: Step) -> State:
        """A product with parameters: what they write, unless an operand carries the channels through."""
        uses = self._uses(index)
        read = {use.operand for _, use in uses if use.role is Role.READS}
        carried = [
            self.states[i]
            for i in step.inputs
            if i in self.states and i not in read and i not in self.ledger.parameter_steps
            and not self._parametric(i)
        ]  # fmt: skip
        writers = [self.written[origin] for origin, use in uses if use.role is Role.WRITES]
        if writers and all(fill is Fill.ZERO for fill in writers):
            return State.ZERO
        if carried:
            return State.ZERO if State.ZERO in carried and not writers else State.ANY
        if writers and all(fill is Fill.MEAN for fill in writers):
            return State.MEAN
        return State.ANY

    def _parametric(self, index: int) -> bool:
        return any(dim.origins for axes in self.ledger.steps[index].outputs for dim in axes)

    def _operation(self, step: Step) -> State:
        name = step.operation
        spanning = [self.states[i] for i in step.inputs if i in self.states]
        alone = len(spanning) == len(step.inputs)
        if name in ("zeros", "new_zeros"):
            return State.ZERO
        if not spanning:
            return State.ANY
        if name in ("add", "sub", "rsub"):
            return self._sum(step, spanning, alone=alone and len(step.inputs) > 1)
        if name in ("mul", "div"):
            return self._multiplied(step, spanning)
        if name in POLES:
            return State.BROKEN if State.ZERO in spanning else State.ANY
        if name == "pow":
            return self._power(step, spanning)
        if name == "masked_fill":
            keeps = spanning[0] is State.MEAN or not any(step.numbers)
            return spanning[0] if keeps and len(spanning) == 1 else State.ANY
        if name in ("pad", "constant_pad_nd") and spanning[0] is State.ZERO and any(step.numbers):
            return State.ANY
        if name in KEEPING or name in ("pad", "constant_pad_nd"):
            return self._kept(step, spanning)
        if name == "scaled_dot_product_attention":
            return State.ZERO if self.states.get(step.inputs[2]) is State.ZERO else State.ANY
        if name in ZERO_KEEPING and all(state is State.ZERO for state in spanning[:1]):
            return self._zero_kept(step)
        return State.ANY

    def _zero_kept(self, step: Step) -> State:
        low_high = step.numbers[:2]
        inside = step.operation != "hardtanh" or (
            len(low_high) == 2 and low_high[0] <= 0 <= low_high[1]
        )
        return State.ZERO if inside else State.ANY

    def _same_places(self, step: Step) -> bool:
        """Whether all operands span the variable on the same axes, counted from the last."""
        places = {self._places(i) for i in step.inputs if i in self.states}
        return len(places) == 1

    def _places(self, index: int) -> tuple[int, ...]:
        axes = self.ledger.steps[index].outputs[0]
        return tuple(i - len(axes) for i, dim in enumerate(axes) if self.var in leaves(dim.expr))

    def _sum(self, step: Step, spanning: list[State], *, alone: bool) -> State:
        if len(set(spanning)) > 1 or not self._same_places(step):
            return State.ANY
        if spanning[0] is State.ZERO:
            return State.ZERO if alone else State.ANY
        return spanning[0]

    def _multiplied(self, step: Step, spanning: list[State]) -> State:
        if step.operation == "div" and len(step.inputs) > 1 and step.inputs[1] in self.states:
            return (
                State.BROKEN
                if self.states[step.inputs[1]] is State.ZERO
                else _zero_or_any(spanning)
            )
        if State.ZERO in spanning:
            return State.ZERO
        return spanning[0] if len(spanning) == 1 else State.ANY

    def _power(self, step: Step, spanning: list[State]) -> State:
        if spanning[0] is not State.ZERO or len(step.inputs) > 1 or not step.numbers:
            return State.ANY
        return (
            State.ZERO
            if step.numbers[0] > 0
            else State.ANY
            if step.numbers[0] == 0
            else State.BROKEN
        )

    def _kept(self, step: Step, spanning: list[State]) -> State:
        if len(set(spanning)) > 1:
            return State.ANY
        if spanning[0] is State.MEAN and self._exprs(step.inputs) != self._own(step):
            return State.ANY
        return spanning[0]

    def _exprs(self, steps: Collection[int]) -> set[Expr]:
        return {expr for i in steps if i in self.states for expr in self._own(self.ledger.steps[i])}

    def _own(self, step: Step) -> set[Expr]:
        exprs = (resolve(dim.expr) for axes in step.outputs for dim in axes)
        return {expr for expr in exprs if self.var in leaves(expr)}


def _zero_or_any(states: list[State]) -> State:
    return State.ZERO if states and states[0] is State.ZERO else State.ANY
