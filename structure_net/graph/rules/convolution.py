"""Convolutions: plain, grouped, depthwise, transposed."""

from __future__ import annotations

from typing import Any

from structure_net.graph.channels import Role
from structure_net.graph.ledger import Axes, Dim
from structure_net.graph.rules.call import SIZE_ONE, Call, Operand
from structure_net.graph.rules.linear import add_bias
from structure_net.graph.rules.registry import rule
from structure_net.graph.sizes import ONE, Expr, Prod, axis

SPACE = "over the space of which it works"


def _space(call: Call, x: Operand, weight: Operand) -> tuple[Dim, ...]:
    """The kernel's axes are fixed, and so is the space that it moves over, unless it takes each
    position by itself, or all of them at once."""
    count = weight.dims - 2
    return tuple(_along(call, x, weight, i) for i in range(count))


def _along(call: Call, x: Operand, weight: Operand, i: int) -> Dim:
    place = x.dims - weight.dims + 2 + i
    kernel, dim = weight.axes[2 + i], x.axes[place]
    padding = call["padding"] == "same" or any(
        _entry(call[name], i) for name in ("padding", "output_padding")
    )
    if weight.shape[2 + i] == 1 and _entry(call["stride"], i, 1) == 1 and not padding:
        return Dim(dim.expr)
    whole = weight.shape[2 + i] == x.shape[place] and _entry(call["dilation"], i, 1) == 1
    if whole and not padding and call.learns(kernel) and not _transposes(call):
        call.unify(dim.expr, kernel.expr)
        call.use(kernel, Role.READS, x)
        return SIZE_ONE
    call.freeze(kernel.expr, "whose kernel it is")
    call.freeze(dim.expr, SPACE)
    return call.fixed(call.shape[place], SPACE)


def _entry(value: Any, i: int, default: int = 0) -> int:
    """One entry of an argument such as a stride; padding by name leaves a kernel of 1 alone."""
    if isinstance(value, (list, tuple)):
        return int(value[i % len(value)]) if value else default
    return default if value is None or isinstance(value, str) else int(value)


@rule(
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "convolution",
)
def convolution(call: Call) -> Axes | list[Axes]:
    """A convolution with ``groups``: each group of outputs reads its own group of inputs.

    The weight's shape is (out, in / groups, ...), or (in, out / groups, ...) where it is
    transposed.
    """
    x, weight = call.tensor("input"), call.tensor("weight")
    transposed = _transposes(call)
    computed = not all(dim.origins for dim in weight.axes[:2] if call.wide(dim.expr))
    channel = x.dims - weight.dims + 1
    groups = axis(call["groups"] or 1)
    if computed:
        call.layer(weight, "convolution", weight.expr(0))
        return _fixed(call) if transposed else _computed(call, weight, channel, groups)
    reads, writes = (0, 1) if transposed else (1, 0)
    out = (_transposed if transposed else _plain)(call, weight, x.expr(channel), groups)
    if call.wide(weight.expr(reads)) and not _one_each(call, weight, transposed=transposed):
        call.use(weight.axes[reads], Role.READS, x)
    call.use(weight.axes[writes], Role.WRITES)
    add_bias(call, call["bias"], out)
    call.layer(weight, "transposed convolution" if transposed else "convolution", out.expr)
    space = _space(call, x, weight)
    return (*(Dim(d.expr) for d in x.axes[:channel]), out, *space)


def _transposes(call: Call) -> bool:
    return "transpose" in call.operation or bool(call["transposed"])


def _computed(call: Call, weight: Operand, channel: int, groups: Expr) -> Axes:
    """A weight that is no parameter: a product of two tensors."""
    x = call.tensor("input")
    call.use_all(x, Role.WRITES)
    call.use_all(weight, Role.WRITES)
    out = _plain(call, weight, x.expr(channel), groups)
    if call.wide(weight.expr(1)):
        call.sums(weight.expr(1), (x, weight))
    add_bias(call, call["bias"], out)
    return (*(Dim(d.expr) for d in x.axes[:channel]), out, *_space(call, x, weight))


def _fixed(call: Call) -> Axes:
    """A transposed weight that is no parameter: all that it meets is fixed."""
    why = "whose weight is computed"
    for operand in call.operands:
        for dim in operand.axes:
            call.freeze(dim.expr, why)
    return tuple(call.fixed(size, why) for size in call.shape)


def _one_each(call: Call, weight: Operand, *, transposed: bool) -> bool:
    return transposed and weight.shape[0] == (call["groups"] or 1)


def _plain(call: Call, weight: Operand, channels: Expr, groups: Expr) -> Dim:
    call.unify(channels, Prod((groups, weight.expr(1))))
    if groups is ONE:
        return Dim(weight.expr(0))
    call.unify(weight.expr(0), Prod((groups, axis(weight.shape[0] // call["groups"]))))
    return Dim(weight.expr(0))


def _transposed(call: Call, weight: Operand, channels: Expr, groups: Expr) -> Dim:
    call.unify(channels, weight.expr(0))
    if groups is ONE:
        return Dim(weight.expr(1))
    call.unify(weight.expr(0), Prod((groups, axis(weight.shape[0] // call["groups"]))))
    if weight.shape[0] == call["groups"]:
        call.use(weight.axes[0], Role.WRITES)
    return Dim(Prod((groups, weight.expr(1))))
