"""Operations that work entry by entry, with broadcasting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from structure_net.graph.channels import Role
from structure_net.graph.ledger import Axes, Dim
from structure_net.graph.rules.call import SIZE_ONE, Call, Operand
from structure_net.graph.rules.registry import rule
from structure_net.graph.sizes import ONE, Sum

COPIES: Final = (
    "clone", "contiguous", "alias", "to", "_to_copy", "detach", "neg", "dropout", "type_as",
    "lift_fresh_copy",
    "lift_fresh", "float", "double", "half", "feature_dropout", "positive", "real", "alpha_dropout",
    "bernoulli_dropout", "imag", "conj", "_conj", "resolve_conj", "resolve_neg",
)  # fmt: skip
"""Linear operations on one tensor: they keep zeros, means and multiples."""

UNARY: Final = (
    "relu", "relu6", "gelu", "silu", "sigmoid", "tanh", "hardtanh", "hardswish", "hardsigmoid",
    "leaky_relu", "elu",
    "selu", "celu", "mish", "softplus", "softsign", "log_sigmoid", "abs", "clamp", "clamp_min",
    "clamp_max", "exp",
    "expm1", "log", "log1p", "log2", "sin", "cos", "tan", "atan", "asinh", "sinh", "cosh", "erf",
    "rsqrt", "sqrt",
    "square", "reciprocal", "sign", "floor", "ceil", "round", "trunc", "logical_not", "bitwise_not",
    "isnan", "isinf",
    "hardshrink", "softshrink", "tanhshrink", "threshold", "rrelu", "nan_to_num", "zeros_like",
    "ones_like",
    "full_like", "empty_like", "fill", "zero", "special_expit", "isfinite", "logit", "angle", "sgn",
    "sinc", "special_sinc", "erfinv", "erfc", "exp2", "frac", "deg2rad", "rad2deg", "i0", "asin",
    "acos", "atanh", "acosh", "log10", "digamma", "lgamma",
)  # fmt: skip

SUMS: Final = ("add", "sub", "rsub")
PRODUCTS: Final = ("mul",)
OTHERS: Final = (
    "eq", "ne", "ge", "le", "gt", "lt", "__and__", "__or__", "logical_and", "logical_or",
    "logical_xor",
    "bitwise_and", "bitwise_or", "maximum", "minimum", "atan2", "where", "masked_fill", "div",
    "remainder", "pow",
    "addcmul", "addcdiv", "lerp", "fmod", "floor_divide", "xlogy",
    "hypot", "logaddexp", "logaddexp2", "fmax", "fmin", "copysign",
)  # fmt: skip


def broadcast(call: Call, operands: Sequence[Operand], dims: int | None = None) -> Axes:
    """The axes of an operation with broadcasting: aligned from the right, equal unless 1 wide."""
    count = len(call.shape) if dims is None else dims
    spans = ([o.axes[i + o.dims] for o in operands if i + o.dims >= 0] for i in range(-count, 0))
    return tuple(_aligned(call, dims) for dims in spans)


def _aligned(call: Call, dims: Sequence[Dim]) -> Dim:
    wide = [dim for dim in dims if dim.expr is not ONE and call.wide(dim.expr)]
    if not wide:
        return SIZE_ONE
    for other in wide[1:]:
        call.unify(wide[0].expr, other.expr)
    return Dim(wide[0].expr)


def parametric(operand: Operand) -> bool:
    """Whether a tensor is computed from parameters alone by linear operations."""
    return any(dim.origins for dim in operand.axes)


@rule(*COPIES)
def copies(call: Call) -> Axes:
    """The same axes, the same parameters behind them."""
    first = call.operands[0]
    call.tag = first.tag
    call.ledger.copies[call.step] = call.ledger.copies.get(first.step, first.step)
    return first.axes


@rule(*UNARY)
def unary(call: Call) -> Axes:
    """The same axes; a parameter becomes a table."""
    for operand in call.operands:
        call.use_all(operand, Role.TABLE)
    return broadcast(call, call.operands)


@rule(*SUMS)
def sums(call: Call) -> Axes:
    """Additive: a parameter writes into the channels; sums of parameters stay parameters."""
    operands = call.operands
    axes = broadcast(call, operands)
    if all(parametric(operand) for operand in operands):
        return joined(operands, axes)
    for operand in operands:
        call.use_all(operand, Role.WRITES)
    return axes


def joined(operands: Sequence[Operand], axes: Axes) -> Axes:
    """The result of adding parameters: behind each axis stand all of those that span it."""
    out, count = [], len(axes)
    for i, dim in enumerate(axes):
        spans = [o.axes[i - count + o.dims] for o in operands if i - count + o.dims >= 0]
        out.append(
            Dim(dim.expr, tuple(dict.fromkeys(origin for span in spans for origin in span.origins)))
        )
    return tuple(out)


@rule(*PRODUCTS)
def products(call: Call) -> Axes:
    """Multiplicative: a parameter scales the channels; a product of parameters goes with the first
    that can be zeroed."""
    operands = call.operands
    axes = broadcast(call, operands)
    if all(
        parametric(operand) or not any(call.wide(d.expr) for d in operand.axes)
        for operand in operands
    ):
        return _product(call, operands, axes)
    for operand in operands:
        call.use_all(operand, Role.SCALES)
    return axes


def _product(call: Call, operands: Sequence[Operand], axes: Axes) -> Axes:
    out, count = [], len(axes)
    for i, dim in enumerate(axes):
        spans = [o.axes[i - count + o.dims] for o in operands if i - count + o.dims >= 0]
        spans = [span for span in spans if span.origins]
        chosen = next(
            (s for s in spans if all(name in call.ledger.trainable for name, _ in s.origins)), None
        )
        chosen = chosen or next(iter(spans), SIZE_ONE)
        for span in spans:
            if span is not chosen:
                call.use(span, Role.TABLE)
        out.append(Dim(dim.expr, chosen.origins))
    return tuple(out)


@rule(*OTHERS)
def others(call: Call) -> Axes:
    """Anything else with broadcasting: parameters are tables, whose new entries are 1."""
    for operand in call.operands:
        call.use_all(operand, Role.SCALES if call.operation == "div" else Role.TABLE)
    return broadcast(call, call.operands)


@rule("broadcast_tensors")
def together(call: Call) -> list[Axes]:
    """Every tensor in the shape of all of them."""
    for operand in call.operands:
        call.use_all(operand, Role.WRITES)
    return [broadcast(call, call.operands)] * len(call.shapes)


@rule("prelu", "_prelu_kernel")
def prelu(call: Call) -> Axes:
    """One slope per channel of axis 1, or one for all."""
    x, slope = call.operands[:2]
    if slope.dims == 1 and x.dims > 1:
        if slope.shape[0] > 1:
            call.unify(x.expr(1), slope.expr(0))
        call.use(slope.axes[0], Role.SCALES)
        return tuple(Dim(dim.expr) for dim in x.axes)
    call.use_all(slope, Role.SCALES)
    return broadcast(call, (x, slope))


@rule("copy")
def copy(call: Call) -> Axes:
    """Writes one tensor into another."""
    for operand in call.operands:
        call.use_all(operand, Role.WRITES)
    return broadcast(call, call.operands)


@rule("glu")
def glu(call: Call) -> Axes:
    """Half of the channels gates the other half."""
    x = call.tensor("self")
    dim = call.dim(-1 if call["dim"] is None else call["dim"], x.dims)
    half = call.given(call.shape[dim])
    call.unify(x.expr(dim), Sum((half.expr, half.expr)))
    return tuple(Dim(half.expr if i == dim else d.expr) for i, d in enumerate(x.axes))


@rule(
    "zeros",
    "ones",
    "full",
    "empty",
    "new_zeros",
    "new_ones",
    "new_full",
    "new_empty",
    "scalar_tensor",
)
def constants(call: Call) -> Axes:
    """A constant tensor: its sizes are given by the code."""
    return tuple(call.given(size) for size in call.shape)


@rule("arange", "linspace", "rand", "randn", "rand_like", "randn_like", "bernoulli")
def positions(call: Call) -> Axes:
    """Values that differ from entry to entry, or are drawn; in training, draws may change."""
    if call.ledger.training and "rand" in call.operation:
        if call.operands:
            return broadcast(call, call.operands)
        return tuple(call.given(size) for size in call.shape)
    if call.operands:
        for dim in call.operands[0].axes:
            call.freeze(dim.expr, "which draws random numbers per entry")
    return tuple(call.fixed(size, "whose values depend on the position") for size in call.shape)
