"""Recurrent cells, called one step at a time, and products of two inputs."""

from __future__ import annotations

from typing import Final

from structure_net.graph.channels import Role
from structure_net.graph.ledger import Axes, Dim
from structure_net.graph.rules.call import Call, Operand
from structure_net.graph.rules.linear import add_bias
from structure_net.graph.rules.recurrent import fix_lead
from structure_net.graph.rules.registry import rule
from structure_net.graph.sizes import Expr, Sum

_GATES: Final = {"lstm_cell": 4, "gru_cell": 3, "rnn_tanh_cell": 1, "rnn_relu_cell": 1}


@rule(*_GATES)
def cell(call: Call) -> Axes | list[Axes]:
    """One step of a recurrent layer: each gate is a stretch of the weights' rows."""
    x, inner, outer = call.tensor("input"), call.tensor("w_hh"), call.tensor("w_ih")
    hidden, states = inner.expr(1), _states(call)
    gates: Expr = Sum((hidden,) * _GATES[call.operation])
    for weight, operand in ((outer, x), (inner, states[0])):
        call.contract((operand, operand.dims - 1), (weight, 1))
        call.unify(weight.expr(0), gates)
        call.use(weight.axes[0], Role.WRITES)
    for name in ("b_ih", "b_hh"):
        add_bias(call, call[name], outer.axes[0])
    for state in states:
        call.unify(state.expr(-1), hidden)
        call.use_all(state, Role.WRITES)
        fix_lead(call, state)
    call.use_all(x, Role.WRITES)
    fix_lead(call, x)
    call.layer(outer, "recurrent", hidden)
    result: Axes = (*(Dim(dim.expr) for dim in x.axes[:-1]), Dim(hidden))
    return [result] * len(call.shapes) if len(call.shapes) > 1 else result


def _states(call: Call) -> list[Operand]:
    given = call["hx"]
    return list(given) if isinstance(given, list | tuple) else [given]


@rule("bilinear")
def bilinear(call: Call) -> Axes:
    """``y_o = sum_ij x_i W_oij z_j + b_o``: the weight reads two inputs."""
    first, second, weight = (call.tensor(name) for name in ("input1", "input2", "weight"))
    call.contract((first, first.dims - 1), (weight, 1))
    call.contract((second, second.dims - 1), (weight, 2))
    out = call.writes(weight.axes[0])
    add_bias(call, call["bias"], out)
    call.layer(weight, "bilinear", out.expr)
    return (*(Dim(dim.expr) for dim in first.axes[:-1]), out)


@rule("embedding_bag", "_embedding_bag", "_embedding_bag_forward_only")
def embedding_bag(call: Call) -> list[Axes]:
    """Sums, means or maxima of a table's rows, channel by channel; and bookkeeping of the bags."""
    table = call.tensor("weight")
    call.freeze(table.expr(0), "whose vocabulary it is")
    call.use(table.axes[0], Role.TABLE)
    out = call.writes(table.axes[1])
    call.layer(table, "embedding", out.expr)
    book = "which counts the bags"
    result: Axes = (call.fixed(call.shape[0], book), out)
    rest = [tuple(call.fixed(size, book) for size in shape) for shape in call.shapes[1:]]
    return [result, *rest]
