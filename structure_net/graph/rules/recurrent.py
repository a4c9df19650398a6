"""Recurrent layers: LSTM, GRU and plain ones, several layers deep and in both directions."""

from __future__ import annotations

from structure_net.graph.channels import Role
from structure_net.graph.ledger import Axes, Dim
from structure_net.graph.rules.call import Call, Operand
from structure_net.graph.rules.registry import rule, unknown
from structure_net.graph.sizes import Expr, Sum, axis

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


@rule(*GATES)
def recurrent(call: Call) -> list[Axes]:
    """One hidden size for all layers and directions; each gate is a stretch of the weights'
    rows."""
    x, weights = call.operands[0], call["params"]
    per_cell = 4 if call["has_biases"] else 2
    directions = 2 if call["bidirectional"] else 1
    if (
        "batch_sizes" in call.arguments
        or len(weights) != per_cell * directions * call["num_layers"]
    ):
        return unknown(call)
    hidden = axis(weights[1].shape[1])
    output: Expr = Sum((hidden,) * directions) if directions > 1 else hidden
    for i in range(0, len(weights), per_cell):
        _cell(call, weights[i : i + per_cell], hidden)
        first = i < per_cell * directions
        source = x.expr(-1) if first else output
        call.unify(source, weights[i].expr(1))
        call.use(weights[i].axes[1], Role.READS, x if first else None)
    call.use_all(x, Role.WRITES)
    fix_lead(call, x)
    states = call["hx"] if isinstance(call["hx"], (list, tuple)) else [call["hx"]]
    for state in states:
        call.unify(state.expr(-1), hidden)
        call.use_all(state, Role.WRITES)
        fix_lead(call, state)
    call.layer(weights[0], "recurrent", output, name=None)
    return _results(call, x, output, hidden)


def fix_lead(call: Call, operand: Operand) -> None:
    """The axes before the channels are fixed: each step in time depends on those before."""
    for dim in operand.axes[:-1]:
        call.freeze(dim.expr, "whose time and batch it is")


def _cell(call: Call, weights: list[Operand], hidden: Expr) -> None:
    gates = Sum((hidden,) * GATES[call.operation]) if GATES[call.operation] > 1 else hidden
    for weight in weights:
        call.unify(weight.expr(0), gates)
        call.use(weight.axes[0], Role.WRITES)
    call.unify(weights[1].expr(1), hidden)
    call.use(weights[1].axes[1], Role.READS)


def _results(call: Call, x: Operand, output: Expr, hidden: Expr) -> list[Axes]:
    """The sequence, then the last states of shape (layers * directions, batch, hidden)."""
    axes: list[Axes] = [(*(Dim(d.expr) for d in x.axes[:-1]), Dim(output))]
    for shape in call.shapes[1:]:
        lead = tuple(call.fixed(size, "whose layers and batch they are") for size in shape[:-1])
        axes.append((*lead, Dim(hidden)))
    return axes
