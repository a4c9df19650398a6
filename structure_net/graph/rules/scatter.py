"""Sums and copies into positions of an axis that indices name: messages along the edges of graphs.

The other axes are bystanders, which all tensors share.
"""

from __future__ import annotations

from structure_net.graph.channels import Role
from structure_net.graph.ledger import Axes, Dim
from structure_net.graph.rules.call import Call, Operand
from structure_net.graph.rules.registry import rule, unknown

PICKS = "which picks positions by number"


@rule(
    "scatter",
    "index_fill",
    "index_add",
    "index_copy",
    "scatter_add",
    "scatter_reduce",
    "index_reduce",
)
def scatter(call: Call) -> Axes | list[Axes]:
    """``y[index[i]] += x[i]`` along one axis, or one value for all; an index of one axis, or of the
    shape of ``x``."""
    target, index = call.tensor("self"), call.tensor("index")
    source = call["source"] if call["source"] is not None else call["src"]
    among = [o for o in (source, index) if isinstance(o, Operand) and o.dims == target.dims]
    if not target.dims or (source is not None and source not in among):
        return unknown(call)
    dim = call.dim(call["dim"], target.dims)
    for i, own in enumerate(target.axes):
        for other in among:
            if i == dim:
                call.freeze(other.expr(i), PICKS)
            elif other.shape[i] != target.shape[i]:
                return unknown(call)
            else:
                call.unify(own.expr, other.expr(i))
    call.freeze(target.expr(dim), PICKS)
    for operand in (target, *among):
        call.use_all(operand, Role.WRITES)
    return tuple(Dim(own.expr) for own in target.axes)
