"""Gains between a layer and the stream that it writes into (layer scale).

A writer whose output is multiplied by a gain before it is added keeps new channels at the mean only
if its new rows are the mean of the old rows, weighted with the gain: the new gain is 1.
"""

from __future__ import annotations

from collections.abc import Collection

from structure_net.graph.channels import Role
from structure_net.graph.index import Index
from structure_net.graph.ledger import Origin
from structure_net.graph.rules.handwritten import MOVES
from structure_net.graph.sizes import Expr, Var, leaves, size_of


def weighing(
    index: Index, var: Var, streams: Collection[Expr], keeping: Collection[str]
) -> dict[Origin, str]:
    """For each parameter axis whose output only goes through a gain, that gain.

    Args:
        index: What the program does.
        var: What grows.
        streams: The axes that are normalised.
        keeping: Operations that treat every channel alike.
    """
    out: dict[Origin, str] = {}
    for step in index.steps.get(var, ()):
        gain = gain_of(index, step, var)
        inputs = index.ledger.steps[step].inputs
        if gain is None or len(inputs) != 2 or index.expr(gain) not in streams:
            continue
        source = next((i for i in inputs if not index.parametric(i)), None)
        if source is not None:
            out.update(dict.fromkeys(_sole_writers(index, source, var, keeping), gain[0]))
    return out


def gain_of(index: Index, step: int, var: Var) -> Origin | None:
    """The parameter axis that multiplies the channels in a step, if it does only that."""
    if index.ledger.steps[step].operation != "mul":
        return None
    uses = index.uses_by_step.get(step, ())
    found = [o for o, use in uses if use.role is Role.SCALES and var in leaves(index.expr(o))]
    if len(found) != 1 or len(index.ledger.uses[found[0]]) != 1:
        return None
    if not any(_unchanged(index, i, found[0][0]) for i in index.ledger.steps[step].inputs):
        return None
    widths = sorted(size_of(expr) for expr in index.ledger.tensors[found[0][0]])
    return found[0] if all(width == 1 for width in widths[:-1]) else None


def _unchanged(index: Index, step: int, name: str) -> bool:
    """Whether a step supplies a parameter, moved about at most."""
    while index.ledger.steps[step].operation in MOVES and len(index.ledger.steps[step].inputs) == 1:
        step = index.ledger.steps[step].inputs[0]
    return index.ledger.parameter_steps.get(step) == name


def _sole_writers(index: Index, source: int, var: Var, keeping: Collection[str]) -> list[Origin]:
    """What writes the tensor of a step, if nothing else reads it on the way."""
    step = index.ledger.steps[source]
    while step.operation in keeping and len(step.inputs) == 1 and _read_once(index, source):
        source = step.inputs[0]
        step = index.ledger.steps[source]
    uses = index.uses_by_step.get(source, ())
    found = [o for o, use in uses if use.role is Role.WRITES and var in leaves(index.expr(o))]
    alone = all(len(index.ledger.uses[origin]) == 1 for origin in found)
    return found if alone and _read_once(index, source) else []


def _read_once(index: Index, step: int) -> bool:
    return len(index.readers.get(step, ())) == 1
