"""Normalised streams whose norms keep epsilon out of reach: compensation in what writes them.

A LayerNorm over n channels that grow to m, the new ones at the mean, sees its variance shrink by
n / m. Where epsilon can follow, gain and epsilon make up for it. Where it cannot (it is written out
in the code), everything that writes the stream is multiplied by s = sqrt(m / n) instead: then the
variance is as before, the centred channels are s times as large, and the gain is divided by s. What
reads the stream in front of a norm is divided by s, too. A tensor that writes the stream and reads
the last norm's output (a tied embedding) is right as a writer; that norm's gain and bias make up
for its reading, by another division each.
"""

from __future__ import annotations

from typing import Final

from structure_net.graph.channels import Fill, Role
from structure_net.graph.index import Index
from structure_net.graph.ledger import Norm, Origin, Step
from structure_net.graph.sizes import Var
from structure_net.graph.states import KEEPING, Expectation, RefusalError, State

_STREAM: Final = frozenset((State.MEAN, State.WEIGHTED))
_LINEAR: Final = KEEPING | {"mul", "div"}
_SUMS: Final = frozenset(("add", "sub", "rsub"))
_ALL_IN_ONE: Final = frozenset(("layer_norm", "native_layer_norm"))


def powers(
    expectation: Expectation, fills: dict[Origin, Fill], obstacle: str
) -> dict[Origin, float]:
    """The power of m / n that each parameter axis is multiplied by when n channels become m.

    Args:
        expectation: The states of centred growth.
        fills: What new entries of each axis hold.
        obstacle: Why the norms cannot follow, for the refusal.

    Returns:
        1/2 for writers, -1/2 for gains and for readers in front of a norm, and 1/2 less for gain
        and bias of a norm before a tied reader; other axes are left out.

    Raises:
        RefusalError: It is not certain that this keeps the function.
    """
    index, var = expectation.index, expectation.var
    steps = index.ledger.steps
    norms = index.norms(var)
    plain = all(steps[norm.step].operation in _ALL_IN_ONE for _, norm in norms)
    if not plain or len(expectation.streams) != 1 or not _is_linear(expectation):
        raise RefusalError(obstacle)
    out: dict[Origin, float] = {}
    tied: set[Origin] = set()
    for origin in index.origins[var]:
        uses = index.ledger.uses[origin]
        roles = {use.role for use in uses}
        if Role.WRITES in roles:
            if fills[origin] is not Fill.MEAN:
                continue
            written = (use.step for use in uses if use.role is Role.WRITES)
            if not all(expectation.states.get(step) in _STREAM for step in written):
                raise RefusalError(obstacle)
            out[origin] = 0.5
            tied |= {origin} if Role.READS in roles else set()
        elif roles == {Role.READS} and _reads_stream(expectation, origin, obstacle):
            out[origin] = -0.5
    gains = {norm.gain for _, norm in norms}
    out.update({origin: -0.5 for origin in index.origins[var] if origin[0] in gains})
    balanced = gains_before(index, var, tied)
    if balanced is None:
        raise RefusalError(obstacle)
    for origin in balanced:
        out[origin] = out.get(origin, 0.0) - 0.5
    return out


def _is_linear(expectation: Expectation) -> bool:
    """Whether the stream reaches norms and readers through operations of degree one alone."""
    index, ledger, states = expectation.index, expectation.index.ledger, expectation.states
    for step, state in states.items():
        if state not in _STREAM or step in ledger.parameter_steps or index.parametric(step):
            continue
        if step in ledger.results or not _has_degree_one(expectation, step):
            return False
        for reader in index.readers.get(step, ()):
            norm = expectation.norm_steps.get(reader)
            normalised = norm is not None and norm.source == step
            uses = index.uses_by_step.get(reader, ())
            read = any(use.role is Role.READS and use.operand == step for _, use in uses)
            if not (normalised or read or states.get(reader) in _STREAM):
                return False
    return True


def _has_degree_one(expectation: Expectation, index: int) -> bool:
    step, states = expectation.ledger.steps[index], expectation.states
    uses = expectation.index.uses_by_step.get(index, ())
    if any(use.role is Role.WRITES for _, use in uses) and step.operation not in _SUMS:
        return True
    if step.operation in _SUMS:
        return len(step.inputs) > 1 and all(states.get(i) in _STREAM for i in step.inputs)
    return step.operation in _LINEAR


def _reads_stream(expectation: Expectation, origin: Origin, obstacle: str) -> bool:
    uses = expectation.ledger.uses[origin]
    found = {use.operand is not None and expectation.states.get(use.operand) in _STREAM
             for use in uses}  # fmt: skip
    if len(found) > 1:
        raise RefusalError(obstacle)
    return found.pop()


def gains_before(index: Index, var: Var, tied: set[Origin]) -> set[Origin] | None:
    """Gains and biases whose only effect is on what the tied axes read.

    Args:
        index: What the program does.
        var: What changes.
        tied: Axes that write the channels and read them behind a norm.

    Returns:
        The axes of the gain and the bias of each norm that the tied axes read; None where a tied
        axis reads anything else, or where anything else reads such a norm.
    """
    needed = {
        use.operand
        for origin in tied
        for use in index.ledger.uses[origin]
        if use.role is Role.READS
    }
    found: set[Origin] = set()
    reached: set[int | None] = set()
    for _, norm in index.norms(var):
        start, gains = _affine(index, var, norm)
        ends = None if start is None else _ends(index, start, var, tied)
        if ends:
            found |= gains
            reached |= ends
    return found if needed <= reached else None


def _affine(index: Index, var: Var, norm: Norm) -> tuple[int | None, set[Origin]]:
    """The step behind which a norm is complete, and the axes of its gain and its bias."""
    uses = index.ledger.uses
    gains = {o for o in index.origins[var] if norm.gain is not None and o[0] == norm.gain}
    own = {use.step for origin in gains for use in uses[origin]}
    if len(gains) != 1 or len(own) != 1:
        return None, set()
    start = own.pop()
    shifts = {
        origin
        for origin in index.origins[var]
        if any(use.role is Role.SHIFTS and use.step == start for use in uses[origin])
    }
    if any(len(uses[origin]) > 1 for origin in gains | shifts):
        return None, set()
    return start, gains | shifts


def _ends(index: Index, step: int, var: Var, tied: set[Origin]) -> set[int] | None:
    """The steps at which tied axes read a result; None where anything else uses it."""
    if step in index.ledger.results:
        return None
    ends: set[int] = set()
    for reader in index.readers.get(step, ()):
        uses = index.uses_by_step.get(reader, ())
        reads = {origin for origin, use in uses if use.role is Role.READS and use.operand == step}
        later = index.ledger.steps[reader]
        if reads:
            if not reads <= tied:
                return None
            ends.add(step)
        elif later.operation in KEEPING and _is_alone(index, step, later, var):
            behind = _ends(index, reader, var, tied)
            if behind is None:
                return None
            ends |= behind
        else:
            return None
    return ends


def _is_alone(index: Index, step: int, later: Step, var: Var) -> bool:
    """Whether no other input of a later step spans the channels."""
    return not any(i != step and i in index.steps[var] for i in later.inputs)
