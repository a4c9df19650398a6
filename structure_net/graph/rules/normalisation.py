"""Normalisations: per channel, within groups of channels, or over the channels."""

from __future__ import annotations

from collections.abc import Iterable

from structure_net.graph.channels import Role
from structure_net.graph.ledger import Axes, Dim
from structure_net.graph.rules.call import Call, Operand
from structure_net.graph.rules.handwritten import stored
from structure_net.graph.rules.registry import rule
from structure_net.graph.sizes import Expr, Prod, axis, leaves

PER_CHANNEL = (
    ("weight", Role.SCALES),
    ("bias", Role.SHIFTS),
    ("running_mean", Role.MEAN),
    ("running_var", Role.VARIANCE),
)


def _plain(operand: Operand) -> Axes:
    return tuple(Dim(dim.expr) for dim in operand.axes)


def _per_channel(call: Call, channels: Expr) -> None:
    for name, role in PER_CHANNEL:
        table = call[name]
        if isinstance(table, Operand):
            call.unify(channels, table.expr(0))
            call.use_all(table, role)


@rule("batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "instance_norm")
def batch_norm(call: Call) -> Axes:
    """Statistics of each channel by itself, over all other axes."""
    x = call.operands[0]
    if x.dims > 1:
        _per_channel(call, x.expr(1))
    _over_space(call, x, (0, *range(2, x.dims)))
    return _plain(x)


def _over_space(call: Call, x: Operand, dims: Iterable[int]) -> None:
    """Statistics over some axes beside the channels, in training at least."""
    for i in dims:
        if call.wide(x.expr(i)):
            call.mixes(x, i)


@rule("group_norm")
def group_norm(call: Call) -> Axes:
    """Statistics of each group of channels: groups can come and go, a group's own channels can
    only be copied all together."""
    x, count = call.tensor("input"), call["num_groups"]
    groups, inside = axis(count, given=True), axis(x.shape[1] // count)
    call.unify(x.expr(1), Prod((groups, inside)))
    call.counts = (groups,)
    if call.wide(inside):
        call.norm("group", inside, x.step)
    _over_space(call, x, range(2, x.dims))
    _per_channel(call, x.expr(1))
    return _plain(x)


@rule("layer_norm", "rms_norm")
def layer_norm(call: Call) -> Axes:
    """Statistics over the last axis, which is the channels' own; over several axes, all of them are
    fixed."""
    x, gain, bias = call.tensor("input"), call["weight"], call["bias"]
    count = len(call["normalized_shape"])
    for role, table in ((Role.SCALES, gain), (Role.SHIFTS, bias)):
        if isinstance(table, Operand):
            for i in range(1, count + 1):
                call.unify(x.expr(-i), table.expr(-i))
            call.use_all(table, role)
    if count > 1:
        for dim in x.axes[-count:]:
            call.freeze(dim.expr, "which normalises over several axes at once")
    elif call.wide(x.expr(-1)):
        kind = "layer" if call.operation == "layer_norm" else "rms"
        name, offset = stored(call, gain) if isinstance(gain, Operand) else (None, 0.0)
        held = {"gain": name, "offset": offset, "epsilon": call["eps"]}
        call.norm(kind, x.expr(-1), x.step, epsilon_module=call.module, **held)
    return _plain(x)


@rule("softmax", "_softmax", "log_softmax", "_log_softmax", "softmin", "_safe_softmax")
def softmax(call: Call) -> Axes:
    """Entries of one axis depend on all others of it."""
    x = call.operands[0]
    call.freeze(x.expr(call["dim"]), "which mixes the channels")
    if x.dims > 3 and call["dim"] in (-1, x.dims - 1):
        call.ledger.heads += leaves(x.expr(-3))
    call.use_all(x, Role.TABLE)
    return _plain(x)
