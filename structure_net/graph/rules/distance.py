"""Distances and similarities over the channels of two tensors.

Channels that are zero in both take no part.
"""

from __future__ import annotations

from structure_net.graph.channels import Role
from structure_net.graph.ledger import Axes, Dim
from structure_net.graph.rules.call import Call, Operand
from structure_net.graph.rules.elementwise import broadcast
from structure_net.graph.rules.registry import rule, unknown


@rule("cdist", "_cdist_forward")
def distances(call: Call) -> Axes | list[Axes]:
    """``|a_i - b_j|`` for a of shape (..., n, channels) and b of shape (..., m, channels)."""
    first, second = call.tensor("x1"), call.tensor("x2")
    if not call["p"] > 0:
        return unknown(call)
    _over(call, first, second, -1)
    lead = [Operand(o.step, o.axes[:-2], o.shape[:-2]) for o in (first, second)]
    axes = broadcast(call, lead, len(call.shape) - 2)
    return (*axes, Dim(first.expr(-2)), Dim(second.expr(-2)))


@rule("cosine_similarity")
def cosine(call: Call) -> Axes | list[Axes]:
    """``a b / (|a| |b|)`` over one axis, with broadcasting."""
    first, second = call.tensor("x1"), call.tensor("x2")
    if first.dims != second.dims:
        return unknown(call)
    dim = call.dim(call["dim"], first.dims)
    _over(call, first, second, dim)
    axes = broadcast(call, (first, second), first.dims)
    return (*axes[:dim], *axes[dim + 1 :])


def _over(call: Call, first: Operand, second: Operand, dim: int) -> None:
    """Notes that channels of an axis drop out where both tensors are zero."""
    call.unify(first.expr(dim), second.expr(dim))
    for operand in (first, second):
        call.use_all(operand, Role.WRITES)
        call.sums(first.expr(dim), (operand,), linear=False)
