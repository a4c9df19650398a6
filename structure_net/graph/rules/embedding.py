"""Tables of vectors, and layers that rearrange themselves."""

from __future__ import annotations

from structure_net.graph.channels import Role
from structure_net.graph.ledger import Axes, Dim
from structure_net.graph.rules.call import Call, Operand
from structure_net.graph.rules.registry import rule


@rule("embedding")
def embedding(call: Call) -> Axes:
    """Rows of a table by their numbers: the vocabulary is fixed, the columns are channels."""
    table, indices = call.tensor("weight"), call.tensor("indices")
    call.freeze(table.expr(0), "whose vocabulary it is")
    call.use(table.axes[0], Role.TABLE)
    out = call.writes(table.axes[1])
    call.layer(table, "embedding", out.expr)
    return (*(Dim(dim.expr) for dim in indices.axes), out)


@rule("leaf")
def leaf(call: Call) -> Axes:
    """A layer that rearranges itself: its tensors are its own affair."""
    x, name, channel = call.tensor("x"), call["layer"], call["channel"]
    channel = channel % x.dims
    dims = [Dim(expr, ((name, i),)) for i, expr in enumerate(call.ledger.tensors[name])]
    weight = Operand(x.step, tuple(dims), (call.shape[channel], x.shape[channel]), name=name)
    call.unify(x.expr(channel), weight.expr(1))
    call.use(x.axes[channel], Role.WRITES)
    call.use(weight.axes[1], Role.READS, x)
    out = call.writes(weight.axes[0])
    call.layer(weight, "sparse", out.expr, name=name)
    rest = [
        Dim(dim.expr) if size == old else call.fixed(size, "over the space of which it works")
        for dim, size, old in zip(x.axes, call.shape, x.shape, strict=True)
    ]
    return (*rest[:channel], out, *rest[channel + 1 :])
