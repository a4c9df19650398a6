"""What new channels hold, operation by operation.

New channels of a variable are followed through the program in an abstract state: they are zero,
they equal the mean of the old channels, or they are anything. That decides whether a normalisation
over them stays exact, what has to be written into new entries of each tensor, and which readers are
free because what they read is zero.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Enum
from functools import cached_property
from typing import Final

from structure_net.graph.channels import Fill, Growth, Role
from structure_net.graph.gains import gain_of, weighing
from structure_net.graph.index import Index
from structure_net.graph.ledger import Norm, Origin, Step, Use
from structure_net.graph.rules.elementwise import COPIES
from structure_net.graph.rules.reduction import POOLS, RESIZES
from structure_net.graph.rules.spectral import FOURIER
from structure_net.graph.sizes import Expr, Prod, Var, leaves, resolve


class State(Enum):
    """What the new channels of a tensor hold."""

    ZERO = "zero"
    MEAN = "mean"  # the mean of the old channels, position by position
    WEIGHTED = "weighted"  # that mean, weighted with the gain which multiplies the channels next
    ANY = "any"
    BROKEN = "broken"  # not a finite number


KEEPING: Final = frozenset((
    *COPIES, "view", "reshape", "flatten", "unflatten", "_unsafe_view", "view_as", "reshape_as",
    "permute", "transpose", "swapaxes", "t", "numpy_T", "mT", "adjoint", "movedim", "unsqueeze",
    "squeeze", "expand", "expand_as", "repeat", "repeat_interleave", "split", "split_with_sizes",
    "chunk", "tensor_split", "slice", "narrow", "select", "unbind", "index_select", "index",
    "roll", "flip", "cumsum", "mean", "sum", "tril", "triu", "pixel_shuffle", "pixel_unshuffle",
    "im2col", "col2im", "grid_sampler", "grid_sampler_2d", "grid_sampler_3d", "unfold", "diff",
    "trapz", "hstack", "vstack", "moveaxis", "channel_shuffle", "cat", "concat", "stack",
    "broadcast_to", "tile",
    *(name for name in POOLS if "avg" in name), *(name for name in RESIZES), *FOURIER,
    "view_as_complex", "view_as_real",
))  # fmt: skip
"""Linear operations that treat every channel alike: zeros stay zeros, means stay means."""

ZERO_KEEPING: Final = frozenset((
    "relu", "relu6", "gelu", "silu", "tanh", "hardswish", "leaky_relu", "elu", "selu", "celu",
    "mish", "softsign", "abs", "sqrt", "square", "sin", "tan", "atan", "asinh", "sinh", "erf",
    "expm1", "log1p", "sign", "floor", "ceil", "round", "trunc", "hardshrink", "softshrink",
    "tanhshrink", "nan_to_num", "prelu", "_prelu_kernel", "batch_norm",
    "_native_batch_norm_legit_no_training", "instance_norm", "group_norm", "rms_norm", "norm",
    "amax", "amin", "glu", "zeros_like", "gather", "take_along_dim", "erfinv", "asin", "atanh",
    "frac", "sgn", "cumprod", "var",
    *(name for name in POOLS if "max" in name or "lp" in name),
))  # fmt: skip
"""Operations that turn zeros into zeros (normalisations with the fills that new channels get)."""

LIKE: Final = frozenset(("expand_as", "view_as", "reshape_as", "type_as", "to"))
"""Operations of which the first operand alone gives the values."""

POLES: Final = frozenset(
    ("log10", "digamma", "lgamma", "acosh", "log", "log2", "rsqrt", "reciprocal", "logit", "xlogy")
)
"""Operations that are not finite at zero."""

VIEWS: Final = frozenset((
    "view", "reshape", "flatten", "unflatten", "permute", "transpose", "t", "unsqueeze", "squeeze",
    "expand", "split",
    "split_with_sizes", "chunk", "slice", "narrow", "select", "unbind", "alias", "detach",
))  # fmt: skip


class RefusalError(Exception):
    """A way of growing that is not exact; the message completes "is fixed by"."""


RECURRENT: Final = frozenset((
    "lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell",
    "rnn_relu_cell",
))  # fmt: skip
"""Operations that carry a state on, so that zero weights do not make zeros of what was there."""

SUMS: Final = frozenset(("add", "sub", "rsub", "cat", "concat", "stack", "copy"))
"""Operations in which a parameter is added or joined, so that what it holds counts and not what it
writes."""


class Expectation:
    """One walk over the steps that span a variable, in one way of growing.

    Args:
        index: What the program does, by variable and by step.
        var: What grows.
        growth: How it would grow.
        silent: Parameter axes whose new entries are zero although they write.

    Attributes:
        weights: For parameter axes that a gain multiplies next, the gain.
    """

    def __init__(
        self, index: Index, var: Var, growth: Growth, silent: Collection[Origin] = ()
    ) -> None:
        self.silent = frozenset(silent)
        self.index, self.ledger, self.var, self.growth = index, index.ledger, var, growth
        self.streams = {resolve(norm.expr) for _, norm in index.norms(var)}
        self.norm_steps = {norm.step: norm for _, norm in index.norms(var)}
        self.written: dict[Origin, Fill] = {}
        self.states: dict[int, State] = {}
        self.weights: dict[Origin, str] = {}
        if growth is Growth.CENTRED:
            self.weights = weighing(index, var, self.streams, KEEPING)

    def fills(self) -> dict[Origin, Fill]:
        """What new entries of every parameter axis hold.

        Raises:
            RefusalError: The function would not be kept.
        """
        origins = self.index.origins.get(self.var, [])
        self.written = {origin: self._written(origin) for origin in origins}
        self._follow()
        tied = [o for o in origins if self.index.tied(o) and not self._reads_zero(o)]
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
            raise RefusalError(f"'{tied[0][0]}', which both writes and reads these channels")
        self.written.update(dict.fromkeys(tied, Fill.ZERO))

    def _writes(self, origin: Origin) -> bool:
        return any(use.role is Role.WRITES for use in self.ledger.uses[origin])

    def _written(self, origin: Origin) -> Fill:
        roles = {use.role for use in self.ledger.uses[origin]}
        if origin in self.silent:
            return Fill.ZERO
        if Role.WRITES in roles:
            return self._writer(origin)
        if roles == {Role.READS}:
            return Fill.ZERO
        if origin in self.index.directions:
            return Fill.RANDOM
        if origin[0] in self.index.offsets or origin[0] in self.index.estimates:
            return Fill.ZERO
        return Fill.ZERO if roles & {Role.SHIFTS, Role.MEAN} else Fill.ONE

    def _writer(self, origin: Origin) -> Fill:
        if self.growth is Growth.FREE or self.index.expr(origin) not in self.streams:
            return Fill.RANDOM
        if self.growth is Growth.SCALED:
            return Fill.ZERO
        if origin[0] in self.ledger.leaves:
            raise RefusalError(f"'{origin[0]}', which cannot write the mean of its channels")
        if origin[0] in self.index.spectral:
            raise RefusalError(f"'{origin[0]}', whose spectral norm the mean of its rows changes")
        return Fill.MEAN

    def _reads_zero(self, origin: Origin) -> bool:
        sources = [use.operand for use in self.ledger.uses[origin] if use.role is Role.READS]
        return all(
            source is not None and self.states.get(source) is State.ZERO for source in sources
        )

    def _fill(self, origin: Origin) -> Fill:
        if {use.role for use in self.ledger.uses[origin]} == {Role.READS}:
            silent = self._reads_zero(origin)
            if silent and origin[0] in self.index.spectral:
                raise RefusalError(f"'{origin[0]}', whose spectral norm new columns change")
            return Fill.RANDOM if silent else Fill.ZERO
        return self.written[origin]

    def _follow(self) -> None:
        self.states = {}
        for index in self.index.steps.get(self.var, ()):
            step = self.ledger.steps[index]
            state = self._state(index, step)
            self.states[index] = state
            if state is State.BROKEN:
                raise RefusalError(f"operation '{step.operation}', which is not finite at zero")
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
        roles = {use.role for _, use in self._uses(index)}
        if roles & {Role.WRITES, Role.READS} and step.operation not in SUMS:
            return self._product(index, step)
        return self._operation(index, step)

    def _uses(self, index: int) -> list[tuple[Origin, Use]]:
        uses = self.index.uses_by_step.get(index, ())
        return [
            (origin, use) for origin, use in uses if self.var in leaves(self.index.expr(origin))
        ]

    def _normalised(self, norm: Norm) -> State:
        needed = State.MEAN if norm.kind == "layer" else State.ZERO
        if self.states.get(norm.source) is needed and len(self._places(norm.source)) == 1:
            return State.ZERO
        what = "the mean of the others" if needed is State.MEAN else "zero"
        raise RefusalError(f"{norm}, before which new channels cannot be kept {what}")

    def _parameter(self, name: str) -> State:
        fills = {fill for origin, fill in self.written.items() if origin[0] == name}
        only = fills.pop() if len(fills) == 1 else None
        return {Fill.ZERO: State.ZERO, Fill.MEAN: State.MEAN}.get(only or Fill.RANDOM, State.ANY)

    def _product(self, index: int, step: Step) -> State:
        """A product with parameters: what they write, unless an operand carries the channels
        through."""
        uses = self._uses(index)
        read = {use.operand for _, use in uses if use.role is Role.READS}
        spanning = [i for i in step.inputs if i in self.states and i not in read]
        carried = [self.states[i] for i in spanning if not self.index.parametric(i)]
        writers = {origin for origin, use in uses if use.role is Role.WRITES}
        fills = {self.written[origin] for origin in writers}
        if fills == {Fill.ZERO}:
            memory = step.operation in RECURRENT and any(s is not State.ZERO for s in carried)
            return State.ANY if memory else State.ZERO
        if carried:
            return State.ZERO if State.ZERO in carried and not writers else State.ANY
        plain = all(self._plain(i) for i in spanning)
        return self._mean(writers) if fills == {Fill.MEAN} and plain else State.ANY

    def _mean(self, writers: set[Origin]) -> State:
        gains = {self.weights.get(origin) for origin in writers}
        if gains == {None}:
            return State.MEAN
        return State.WEIGHTED if len(gains) == 1 else State.ANY

    def _plain(self, index: int) -> bool:
        """Whether a tensor is a parameter, moved about at most."""
        step = self.ledger.steps[index]
        if index in self.ledger.parameter_steps:
            return True
        return step.operation in KEEPING and all(map(self._plain, step.inputs))

    def _operation(self, index: int, step: Step) -> State:
        spanning = [self.states[i] for i in step.inputs if i in self.states]
        name = step.operation
        if name in LIKE and step.inputs[0] not in self.states:
            return State.ANY
        if not spanning:
            return State.ZERO if name in ("zeros", "new_zeros") else State.ANY
        if name in self._transfers:
            return self._transfers[name](index, spanning)
        if name in POLES:
            return State.BROKEN if State.ZERO in spanning else State.ANY
        if name in KEEPING:
            return self._kept(index, spanning)
        zero = name in ZERO_KEEPING and spanning[0] is State.ZERO
        return State.ZERO if zero else State.ANY

    @cached_property
    def _transfers(self) -> dict[str, Callable[[int, list[State]], State]]:
        """Operations that need a look at their operands."""
        return {
            "add": self._sum,
            "sub": self._sum,
            "rsub": self._sum,
            "mul": self._multiplied,
            "div": self._divided,
            "pow": self._power,
            "masked_fill": self._masked,
            "pad": self._padded,
            "constant_pad_nd": self._padded,
            "hardtanh": self._clipped,
            "scaled_dot_product_attention": self._attended,
            **dict.fromkeys(("matmul", "mm", "bmm", "mv", "einsum", "tensordot"), self._combined),
        }

    def _combined(self, index: int, spanning: list[State]) -> State:
        """A product of tensors that no parameter is among: linear in each of them."""
        step = self.ledger.steps[index]
        if len(spanning) == 1 and len(self._places(index)) == 1:
            return self._kept(index, spanning)
        once = State.ZERO in spanning and len(self._places(index)) == 1
        alone = all(state is State.ZERO for state in spanning)
        return State.ZERO if (once and self._same_size(step)) or alone else State.ANY

    def _same_size(self, step: Step) -> bool:
        """Whether every operand that spans the variable does so on a single axis."""
        return all(len(self._places(i)) == 1 for i in step.inputs if i in self.states)

    def _masked(self, index: int, spanning: list[State]) -> State:
        keeps = spanning[0] is State.MEAN or not any(self.ledger.steps[index].numbers)
        return spanning[0] if keeps and len(spanning) == 1 else State.ANY

    def _padded(self, index: int, spanning: list[State]) -> State:
        filled = any(self.ledger.steps[index].numbers)
        return State.ANY if filled and spanning[0] is State.ZERO else self._kept(index, spanning)

    def _clipped(self, index: int, spanning: list[State]) -> State:
        low, high = (*self.ledger.steps[index].numbers, -1.0, 1.0)[:2]
        return State.ZERO if spanning[0] is State.ZERO and low <= 0 <= high else State.ANY

    def _attended(self, index: int, spanning: list[State]) -> State:
        value = self.states.get(self.ledger.steps[index].inputs[2])
        return State.ZERO if value is State.ZERO else State.ANY

    def _same_places(self, step: Step) -> bool:
        """Whether all operands span the variable on the same axes, counted from the last."""
        places = {self._places(i) for i in step.inputs if i in self.states}
        return len(places) == 1

    def _places(self, index: int) -> tuple[int, ...]:
        axes = self.ledger.steps[index].outputs[0]
        return tuple(i - len(axes) for i, dim in enumerate(axes) if self.var in leaves(dim.expr))

    def _sum(self, index: int, spanning: list[State]) -> State:
        step = self.ledger.steps[index]
        if len(set(spanning)) > 1 or not self._same_places(step):
            return State.ANY
        alone = len(step.inputs) > 1 and len(spanning) == len(step.inputs)
        if spanning[0] is State.ZERO and alone:
            return State.ZERO
        return State.MEAN if spanning[0] is State.MEAN else State.ANY

    def _multiplied(self, index: int, spanning: list[State]) -> State:
        if State.ZERO in spanning:
            return State.ZERO
        if State.WEIGHTED in spanning:
            return State.MEAN if gain_of(self.index, index, self.var) else State.ANY
        return spanning[0] if len(spanning) == 1 else State.ANY

    def _divided(self, index: int, spanning: list[State]) -> State:
        inputs = self.ledger.steps[index].inputs
        below = self.states.get(inputs[1]) if len(inputs) > 1 else None
        if below is State.ZERO:
            return State.BROKEN
        if spanning[0] is State.ZERO and inputs[0] in self.states:
            return State.ZERO
        return spanning[0] if below is None and spanning[0] is State.MEAN else State.ANY

    def _power(self, index: int, spanning: list[State]) -> State:
        step = self.ledger.steps[index]
        if spanning[0] is not State.ZERO or len(step.inputs) > 1 or not step.numbers:
            return State.ANY
        exponent = step.numbers[0]
        if exponent == 0:
            return State.ANY
        return State.ZERO if exponent > 0 else State.BROKEN

    def _kept(self, index: int, spanning: list[State]) -> State:
        step = self.ledger.steps[index]
        if len(set(spanning)) > 1:
            return State.ANY
        means = (State.MEAN, State.WEIGHTED)
        if spanning[0] in means and self._exprs(step.inputs) != self._own(step):
            return State.ANY
        return spanning[0]

    def _exprs(self, steps: Collection[int]) -> set[Expr]:
        return {expr for i in steps if i in self.states for expr in self._own(self.ledger.steps[i])}

    def _own(self, step: Step) -> set[Expr]:
        """The streams that a step's result spans, whatever other axes they are multiplied with."""
        exprs = (resolve(dim.expr) for axes in step.outputs for dim in axes)
        return {self._stream(expr) for expr in exprs if self.var in leaves(expr)}

    def _stream(self, expr: Expr) -> Expr:
        if not isinstance(expr, Prod):
            return expr
        own = {var for stream in self.streams for var in leaves(stream)}
        return resolve(Prod(tuple(f for f in expr.factors if own.intersection(leaves(f)))))
