"""Matrix products: a parameter on one side reads an axis and writes another."""

from __future__ import annotations

from structure_net.graph.channels import Role
from structure_net.graph.ledger import Axes, Dim
from structure_net.graph.rules.call import Call, Operand
from structure_net.graph.rules.elementwise import broadcast, parametric
from structure_net.graph.rules.registry import rule, unknown


@rule("linear")
def linear(call: Call) -> Axes:
    """``y = x W^T + b`` with ``W`` of shape (out, in)."""
    x, weight = call.tensor("input"), call.tensor("weight")
    call.contract((x, -1 % x.dims), (weight, weight.dims - 1))
    for dim in x.axes[:-1]:
        call.use(dim, Role.WRITES)
    if weight.dims == 1:
        return tuple(Dim(d.expr) for d in x.axes[:-1])
    out = call.writes(weight.axes[0])
    add_bias(call, call["bias"], out)
    call.layer(weight, "linear", out.expr)
    return (*(Dim(d.expr) for d in x.axes[:-1]), out)


def add_bias(call: Call, bias: Operand | None, out: Dim) -> None:
    """A bias of one entry per output channel."""
    if bias is not None:
        call.unify(out.expr, bias.expr(-1 % bias.dims))
        call.use_all(bias, Role.WRITES)


@rule("addmm", "addmv", "baddbmm", "addbmm")
def addmm(call: Call) -> Axes | list[Axes]:
    """``b + x W``."""
    if call.operation in ("addmv", "addbmm"):
        return unknown(call)
    bias, *pair = call.operands
    axes = product(call, pair[0], pair[1])
    for out, dim in zip(reversed(axes), reversed(bias.axes), strict=False):
        if call.wide(dim.expr):
            call.unify(out.expr, dim.expr)
    call.use_all(bias, Role.WRITES)
    return axes


@rule("mm", "bmm", "matmul", "mv", "__matmul__", "__rmatmul__")
def matmul(call: Call) -> Axes:
    """``x W`` with leading axes broadcast."""
    first, second = call.operands
    return product(call, first, second)


def product(call: Call, first: Operand, second: Operand) -> Axes:
    """The matrix product of two tensors of any number of axes.

    A product of parameters alone is not followed: it reads and writes like activations.
    """
    row = first.axes[-2] if first.dims > 1 else None
    column = second.axes[-1] if second.dims > 1 else None
    lead = _lead(call, first, second)
    call.contract((first, first.dims - 1), (second, max(second.dims - 2, 0)), lead)
    for weight, dim in ((second, column), (first, row)):
        if dim is not None and parametric(weight):
            call.use(dim, Role.WRITES)
    weight, out = (second, column) if column is not None and column.origins else (first, row)
    if out is not None and out.origins:
        call.layer(weight, "product", out.expr)
    return (*lead, *(Dim(dim.expr) for dim in (row, column) if dim is not None))


def _lead(call: Call, first: Operand, second: Operand) -> Axes:
    count = max(first.dims, second.dims) - 2
    if count <= 0:
        return ()
    heads = [Operand(o.step, o.axes[:-2], o.shape[:-2]) for o in (first, second) if o.dims > 2]
    for operand in heads:
        call.use_all(operand, Role.SCALES)
    return broadcast(call, heads, count)
