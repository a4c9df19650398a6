"""Matrix products: a parameter on one side reads an axis and writes another."""

from __future__ import annotations

from structure_net.graph.channels import Role
from structure_net.graph.ledger import Axes, Dim
from structure_net.graph.rules.call import SIZE_ONE, Call, Operand
from structure_net.graph.rules.elementwise import broadcast, parametric
from structure_net.graph.rules.registry import rule, unknown
from structure_net.graph.sizes import Prod


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
    call.contract((first, first.dims - 1), (second, max(second.dims - 2, 0)))
    lead = _lead(call, first, second)
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


@rule("einsum")
def einsum(call: Call) -> Axes | list[Axes]:
    """Einstein's sum: a label that is summed is a contraction, a label that stays is an axis."""
    operands = list(call["tensors"])
    labels = _labels(call["equation"], operands, len(call.shape))
    if labels is None or len(operands) > 2:
        return unknown(call)
    inputs, output = labels
    for label in dict.fromkeys("".join(inputs)):
        _contracted(call, label, inputs, operands, kept=label in output)
    axes = tuple(_labelled(call, label, inputs, operands) for label in output)
    for operand, names in zip(operands, inputs, strict=True):
        _register(call, operand, names, inputs, output)
    return axes


def _labels(equation: str, operands: list[Operand], dims: int) -> tuple[list[str], str] | None:
    """The labels of the operands and of the result, ellipses spelled out; None where a label occurs
    twice in one."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    inputs = left.split(",")
    if not arrow:
        counts = {c: left.count(c) for c in left if c.isalpha()}
        right = "".join(sorted(c for c, n in counts.items() if n == 1))
    spare = "0123456789"
    wide = max(
        (o.dims - len(n.replace("...", "")) for n, o in zip(inputs, operands, strict=True)),
        default=0,
    )
    full = []
    for names, operand in zip(inputs, operands, strict=True):
        count = operand.dims - len(names.replace("...", ""))
        full.append(names.replace("...", spare[wide - count : wide]))
    output = right.replace("...", spare[:wide])
    if len(output) != dims or any(len(set(names)) != len(names) for names in full):
        return None
    return full, output


def _contracted(
    call: Call, label: str, inputs: list[str], operands: list[Operand], *, kept: bool
) -> None:
    places = [
        (o, names.index(label)) for o, names in zip(operands, inputs, strict=True) if label in names
    ]
    exprs = [operand.expr(i) for operand, i in places if call.wide(operand.expr(i))]
    if kept:
        for other in exprs[1:]:
            call.unify(exprs[0], other)
            for operand, i in places:
                call.use(operand.axes[i], Role.SCALES)
    elif len(places) == 2 and len(exprs) == 2:
        call.contract(places[0], places[1])
    else:
        for expr in exprs:
            call.freeze(expr, "which sums the channels")


def _labelled(call: Call, label: str, inputs: list[str], operands: list[Operand]) -> Dim:
    found = [
        o.axes[names.index(label)]
        for o, names in zip(operands, inputs, strict=True)
        if label in names
    ]
    return next((Dim(dim.expr) for dim in found if call.wide(dim.expr)), SIZE_ONE)


def _register(call: Call, operand: Operand, names: str, inputs: list[str], output: str) -> None:
    """The axes that a parameter brings into the result by itself are what it writes."""
    if not parametric(operand):
        return
    own = [
        i
        for i, label in enumerate(names)
        if label in output and sum(label in other for other in inputs) == 1
    ]
    for i in own:
        call.use(operand.axes[i], Role.WRITES)
    if own and any(operand.axes[i].origins for i in own):
        call.layer(operand, "product", Prod(tuple(operand.expr(i) for i in own)))
