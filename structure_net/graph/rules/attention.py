"""Scaled dot-product attention over heads; fewer key and value heads than query heads."""

from __future__ import annotations

from structure_net.graph.channels import Role
from structure_net.graph.ledger import Axes, Dim
from structure_net.graph.rules.call import CONTRACTS, SIZE_ONE, Call, Operand
from structure_net.graph.rules.registry import rule
from structure_net.graph.sizes import Prod, axis, leaves


@rule("scaled_dot_product_attention")
def attention(call: Call) -> Axes:
    """``softmax(q k^T / sqrt(d)) v`` for q, k, v of shape (..., heads, length, d)."""
    query, key, value = (call.tensor(name) for name in ("query", "key", "value"))
    for operand in (query, key, value):
        call.use_all(operand, Role.WRITES)
    call.unify(query.expr(-1), key.expr(-1))
    call.unify(key.expr(-2), value.expr(-2))
    for operand in (query, key):
        call.freeze(operand.expr(-2), "which mixes the positions of a sequence")
    lead = tuple(_lead(call, (query, key, value), -i) for i in range(query.dims, 2, -1))
    both = [o.axes[i] for o in (query, key) for i in range(o.dims - 2)]
    if any(operand.axes[-1].origins for operand in (query, key)):
        call.freeze(query.expr(-1), CONTRACTS)
    call.sums(query.expr(-1), (query, key), both, root=call["scale"] is None)
    _mask(call, call["attn_mask"], (*lead, query.axes[-2], key.axes[-2]))
    if query.dims > 3:
        call.ledger.heads += [var for operand in (query, key) for var in leaves(operand.expr(-3))]
    return (*lead, Dim(query.expr(-2)), Dim(value.expr(-1)))


def _lead(call: Call, operands: tuple[Operand, Operand, Operand], i: int) -> Dim:
    """A leading axis of all three; a query's heads may be a multiple of the others' heads."""
    query, key, value = operands
    call.unify(key.expr(i), value.expr(i))
    if not call.wide(query.expr(i)):
        return Dim(key.expr(i))
    if query.shape[i] == key.shape[i]:
        call.unify(query.expr(i), key.expr(i))
    elif call.wide(key.expr(i)):
        call.unify(query.expr(i), Prod((key.expr(i), axis(query.shape[i] // key.shape[i]))))
    return Dim(query.expr(i))


def _mask(call: Call, mask: Operand | None, axes: Axes) -> None:
    """An additive or boolean mask, broadcast over (..., heads, queries, keys)."""
    if mask is None:
        return
    for dim, other in zip(reversed(mask.axes), reversed(axes), strict=False):
        if call.wide(dim.expr) and other is not SIZE_ONE:
            call.unify(dim.expr, other.expr)
    call.use_all(mask, Role.WRITES)
