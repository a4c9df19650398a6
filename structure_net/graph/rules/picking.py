"""Operations that read or write positions of an axis which a tensor of indices names.

The other axes are bystanders, along which every channel is treated by itself.
"""

from __future__ import annotations

import torch

from structure_net.graph.channels import Role
from structure_net.graph.ledger import Axes, Dim
from structure_net.graph.rules.call import Call, Operand
from structure_net.graph.rules.elementwise import broadcast
from structure_net.graph.rules.registry import rule, unknown

PICKS = "which picks positions by number"
MASKS = "which picks entries by a mask"


@rule("gather", "take_along_dim")
def gather(call: Call) -> Axes | list[Axes]:
    """``y[i, j] = x[index[i, j], j]`` along one axis; the others are those of ``x``."""
    x = call.tensor("self")
    index = call["index"] if call["index"] is not None else call["indices"]
    if call["dim"] is None or not isinstance(index, Operand) or index.dims != x.dims:
        return unknown(call)
    dim = call.dim(call["dim"], x.dims)
    call.freeze(x.expr(dim), PICKS)
    call.freeze(index.expr(dim), PICKS)
    call.use_all(x, Role.TABLE)
    return tuple(
        call.fixed(call.shape[i], PICKS) if i == dim else _beside(call, x, index, i)
        for i in range(x.dims)
    )


def _beside(call: Call, x: Operand, index: Operand, i: int) -> Dim:
    """A bystander axis; an index that is shorter there leaves the rest out."""
    if call.operation == "take_along_dim":
        return broadcast(
            call, [Operand(o.step, (o.axes[i],), (o.shape[i],)) for o in (x, index)], 1
        )[0]
    if index.shape[i] == x.shape[i]:
        call.unify(x.expr(i), index.expr(i))
        return Dim(x.expr(i))
    call.freeze(x.expr(i), PICKS)
    return Dim(index.expr(i))


@rule("index_put")
def index_put(call: Call) -> Axes | list[Axes]:
    """Writes values at indices or under a mask; the axes that no index names are bystanders."""
    x, values = call.tensor("self"), call.tensor("values")
    picks = list(call["indices"]) + [None] * (x.dims - len(call["indices"]))
    masks = [pick for pick in picks if pick is not None and pick.boolean]
    call.use_all(x, Role.WRITES)
    call.use_all(values, Role.WRITES)
    if masks:
        return _masked(call, x, values, masks)
    where = [i for i, pick in enumerate(picks) if pick is not None]
    for i in where:
        call.freeze(x.expr(i), PICKS)
    given = torch.broadcast_shapes(*(picks[i].shape for i in where))
    new = [call.fixed(size, PICKS) for size in given]
    front = where[0] if where == list(range(where[0], where[-1] + 1)) else 0
    kept = [dim for i, dim in enumerate(x.axes) if i not in where]
    place = (*kept[:front], *new, *kept[front:])
    for own, dim in zip(reversed(place), reversed(values.axes), strict=False):
        if call.wide(dim.expr):
            call.unify(own.expr, dim.expr)
    return tuple(Dim(dim.expr) for dim in x.axes)


def _masked(call: Call, x: Operand, values: Operand, masks: list[Operand]) -> Axes | list[Axes]:
    """One value under a mask works entry by entry."""
    alone = len(masks) == 1 and call["indices"][0] is masks[0]
    if not alone or any(call.wide(dim.expr) for dim in values.axes):
        for operand in (x, values, *masks):
            for dim in operand.axes:
                call.freeze(dim.expr, MASKS)
    else:
        for own, dim in zip(x.axes, masks[0].axes, strict=False):
            call.unify(own.expr, dim.expr)
    return tuple(Dim(dim.expr) for dim in x.axes)
