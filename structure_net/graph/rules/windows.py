"""Space that becomes channels and channels that become space; sliding windows and differences."""

from __future__ import annotations

from structure_net.graph.channels import Role
from structure_net.graph.ledger import Axes, Dim
from structure_net.graph.rules.call import Call
from structure_net.graph.rules.registry import rule, unknown
from structure_net.graph.rules.shape import SPACE, join
from structure_net.graph.sizes import Prod, axis, size_of

ALONG = "which works along the axis"


@rule("hstack", "vstack")
def stacked(call: Call) -> Axes | list[Axes]:
    """Tensors of two axes or more behind one another."""
    if any(operand.dims < 2 for operand in call.operands):
        return unknown(call)
    return join(call, 1 if call.operation == "hstack" else 0)


@rule("diff")
def difference(call: Call) -> Axes | list[Axes]:
    """Differences of neighbours along one axis."""
    x = call.tensor("self")
    if len(call.operands) > 1:
        return unknown(call)
    dim = call.dim(-1 if call["dim"] is None else call["dim"], x.dims)
    call.freeze(x.expr(dim), ALONG)
    call.use_all(x, Role.TABLE)
    axes = [Dim(own.expr) for own in x.axes]
    axes[dim] = call.fixed(call.shape[dim], ALONG)
    return tuple(axes)


@rule("unfold")
def window(call: Call) -> Axes:
    """Windows that slide along one axis, as a last axis."""
    x = call.tensor("self")
    dim = call.dim(call["dimension"], x.dims)
    call.freeze(x.expr(dim), ALONG)
    call.use_all(x, Role.TABLE)
    axes = [Dim(own.expr) for own in x.axes]
    axes[dim] = call.fixed(call.shape[dim], ALONG)
    return (*axes, call.fixed(call.shape[-1], ALONG))


@rule("col2im")
def fold(call: Call) -> Axes:
    """Sums of windows: ``(c k, positions)`` to ``(c, h, w)``, with windows of k entries."""
    x = call.tensor("self")
    channels = axis(call.shape[-3])
    inner = call.fixed(x.shape[-2] // call.shape[-3], "whose windows are a number in the code").expr
    call.unify(x.expr(-2), Prod((channels, inner)))
    call.freeze(x.expr(-1), SPACE)
    call.use_all(x, Role.TABLE)
    space = [call.fixed(size, SPACE) for size in call.shape[-2:]]
    return (*(Dim(dim.expr) for dim in x.axes[:-2]), Dim(channels), *space)


@rule("grid_sampler", "grid_sampler_2d", "grid_sampler_3d")
def grid_sample(call: Call) -> Axes:
    """Reads each channel at the positions that a grid names."""
    x, grid = call.operands[:2]
    call.unify(x.expr(0), grid.expr(0))
    call.use_all(x, Role.TABLE)
    call.use_all(grid, Role.TABLE)
    for dim in (*x.axes[2:], *grid.axes[1:]):
        call.freeze(dim.expr, SPACE)
    space = [call.fixed(size, SPACE) for size in call.shape[2:]]
    return (Dim(x.expr(0)), Dim(x.expr(1)), *space)


@rule("affine_grid_generator")
def affine_grid(call: Call) -> Axes:
    """A grid of positions for every transformation: ``(n, h, w, 2)`` from ``(n, 2, 3)``."""
    theta = call.tensor("theta")
    call.use_all(theta, Role.TABLE)
    for dim in theta.axes[1:]:
        call.freeze(dim.expr, SPACE)
    return (Dim(theta.expr(0)), *(call.fixed(size, SPACE) for size in call.shape[1:]))


@rule("pixel_shuffle")
def pixel_shuffle(call: Call) -> Axes:
    """Channels become space: ``(c r^2, h, w)`` to ``(c, h r, w r)``."""
    x, factor = call.operands[0], call["upscale_factor"]
    channels = axis(call.shape[-3])
    square = call.fixed(factor * factor, "whose factor is a number in the code").expr
    call.unify(x.expr(-3), Prod((channels, square)))
    for dim in x.axes[-2:]:
        call.freeze(dim.expr, SPACE)
    space = [call.fixed(size, SPACE) for size in call.shape[-2:]]
    return (*x.axes[:-3], Dim(channels), *space)


@rule("pixel_unshuffle", "im2col")
def pixel_unshuffle(call: Call) -> Axes:
    """Space becomes channels: each channel is followed by a fixed number of positions."""
    x = call.operands[0]
    lead = 1 if call.operation == "im2col" else x.dims - 3
    count = call.shape[lead] // x.shape[lead]
    inner = call.fixed(count, "whose factor is a number in the code").expr
    for dim in x.axes[lead + 1 :]:
        call.freeze(dim.expr, SPACE)
    rest = [call.fixed(size, SPACE) for size in call.shape[lead + 1 :]]
    return (*x.axes[:lead], Dim(Prod((x.expr(lead), inner))), *rest)


@rule("channel_shuffle", "native_channel_shuffle")
def channel_shuffle(call: Call) -> Axes:
    """Groups of channels are dealt out: ``(g, c)`` to ``(c, g)``."""
    x, groups = call.operands[0], call["groups"]
    outer = call.fixed(groups, "whose groups are a number in the code").expr
    inner = axis(x.shape[1] // groups)
    call.unify(x.expr(1), Prod((outer, inner)))
    return (x.axes[0], Dim(Prod((inner, outer))), *x.axes[2:]) if size_of(x.expr(1)) > 1 else x.axes
