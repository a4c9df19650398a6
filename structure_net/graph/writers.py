"""Normalised streams whose norms cannot follow their size: compensation in what writes them.

A LayerNorm over n channels that grow to m, the new ones at the mean, sees its variance shrink by
n / m; an RMSNorm, with new channels at zero, its mean square. Where gain and epsilon can follow,
they make up for it. Where they cannot (epsilon is written out in the code, or the norm is another
function of the mean square), everything that writes the stream is multiplied by s = sqrt(m / n)
instead: then the mean square is as before, the channels are s times as large, and the gain is
divided by s. A norm without a gain hands that to what reads its result. What reads the stream in
front of a norm is divided by s, too. A tensor that writes the stream and reads the last norm's
output (a tied embedding) is right as a writer; that norm's gain and bias make up for its reading,
by another division each.

Where a variance is divided by one channel less, as ``torch.std`` has it, n - 1 and m - 1 stand for
n and m. All this is exact where the stream reaches norms and readers through operations of degree
one alone.
"""

from __future__ import annotations

from typing import Final

from structure_net.graph.channels import Fill, Role
from structure_net.graph.index import Index
from structure_net.graph.ledger import Norm, Origin, Step
from structure_net.graph.sizes import Expr, Var, leaves, resolve
from structure_net.graph.states import KEEPING, Expectation, RefusalError

_SUMS: Final = frozenset(("add", "sub", "rsub"))
_HOMOGENEOUS: Final = KEEPING | {"mul", "div", "relu", "leaky_relu", "abs", "zeros_like"}
"""Operations of degree one in the only operand that spans the channels."""


def powers(
    expectation: Expectation, fills: dict[Origin, Fill], obstacle: str
) -> dict[Origin, float]:
    """The power of m / n that each parameter axis is multiplied by when n channels become m.

    Args:
        expectation: The states of centred or scaled growth.
        fills: What new entries of each axis hold.
        obstacle: Why the norms cannot follow, for the refusal.

    Returns:
        1/2 for writers, -1/2 for gains, for readers in front of a norm and for readers of a norm
        without a gain, and 1/2 less for gain and bias of a norm before a tied reader; other axes
        are left out.

    Raises:
        RefusalError: It is not certain that this keeps the function.
    """
    index, var = expectation.index, expectation.var
    stream = _Stream(index, var)
    alike = len(expectation.streams) == 1 == len({norm.lost for _, norm in stream.norms})
    if not alike or not stream.is_linear():
        raise RefusalError(obstacle)
    out: dict[Origin, float] = {}
    tied: set[Origin] = set()
    for origin in index.origins[var]:
        uses = index.ledger.uses[origin]
        roles = {use.role for use in uses}
        written = {use.step in stream.steps for use in uses if use.role is Role.WRITES}
        read = {stream.divides(use.operand) for use in uses if use.role is Role.READS}
        if len(written) > 1 or len(read) > 1:
            raise RefusalError(obstacle)
        if written == {True}:
            out[origin] = 0.5
            tied |= {origin} if Role.READS in roles else set()
        elif roles == {Role.READS} and read == {True}:
            out[origin] = -0.5
    if any(name in index.spectral for name, _ in out):
        raise RefusalError(obstacle)
    gains = {norm.gain for _, norm in stream.norms}
    out.update({origin: -0.5 for origin in index.origins[var] if origin[0] in gains})
    balanced = gains_before(index, var, tied)
    if balanced is None:
        raise RefusalError(obstacle)
    for origin in balanced:
        out[origin] = out.get(origin, 0.0) - 0.5
    return out


class _Stream:
    """The steps whose results are s times as large when everything that writes a normalised stream
    is.

    Args:
        index: What the program does.
        var: What grows.

    Attributes:
        steps: The steps, complete once `is_linear` was asked.
        behind: Steps that hold the result of a norm without a gain.
    """

    def __init__(self, index: Index, var: Var) -> None:
        self.index, self.ledger, self.var = index, index.ledger, var
        self.norms = index.norms(var)
        self.members = {step for _, n in self.norms for step in (n.step, *n.members)}
        self.spanning = frozenset(index.steps.get(var, ()))
        self.steps: set[int] = set()
        self.behind: set[int] = set()

    def divides(self, operand: int | None) -> bool:
        """Whether what is read is s times as large."""
        return operand in self.steps or operand in self.behind

    def is_linear(self) -> bool:
        """Whether the stream reaches norms and readers through operations of degree one alone."""
        pending = [norm.source for _, norm in self.norms]
        while pending:
            step = pending.pop()
            if step in self.steps:
                continue
            beside = self._neighbours(step)
            if beside is None:
                return False
            self.steps.add(step)
            pending += beside
        return all(self._hands_on(index, norm) for index, norm in self.norms)

    def _neighbours(self, step: int) -> list[int] | None:
        """The steps that are s times as large if this one is; None where that is no way on."""
        if step in self.ledger.results or self._exprs(step) != self._exprs(self.norms[0][1].source):
            return None
        sources, readers = self._sources(step), self._readers(step)
        return None if sources is None or readers is None else [*sources, *readers]

    def _exprs(self, step: int) -> set[Expr]:
        axes = self.ledger.steps[step].outputs[0]
        return {resolve(dim.expr) for dim in axes if self.var in leaves(dim.expr)}

    def _sources(self, index: int) -> list[int] | None:
        step = self.ledger.steps[index]
        if index in self.ledger.parameter_steps:
            return []
        uses = self.index.uses_by_step.get(index, ())
        own = [use for o, use in uses if self.var in leaves(self.index.expr(o))]
        spanning = [i for i in step.inputs if i in self.spanning]
        if step.operation in _SUMS:
            return spanning if len(spanning) == len(step.inputs) > 1 else None
        if any(use.role is Role.WRITES for use in own) and step.operation not in KEEPING:
            read = {use.operand for use in own if use.role is Role.READS}
            carried = [i for i in spanning if i not in read and not self.index.parametric(i)]
            return None if carried else []
        if any(use.role is Role.SCALES for use in own):
            spanning = [i for i in spanning if not self.index.parametric(i)]
        return spanning if self._is_homogeneous(step, spanning) else None

    def _is_homogeneous(self, step: Step, spanning: list[int]) -> bool:
        if step.operation not in _HOMOGENEOUS:
            return False
        if step.operation in ("mul", "div"):
            return len(spanning) == 1 and (step.operation == "mul" or spanning[0] == step.inputs[0])
        joined = step.operation in ("cat", "concat", "stack")
        return spanning == list(step.inputs if joined else step.inputs[:1])

    def _readers(self, index: int) -> list[int] | None:
        out = []
        for reader in self.index.readers.get(index, ()):
            if reader in self.members or self._reads(reader, index):
                continue
            if reader not in self.spanning:
                return None
            out.append(reader)
        return out

    def _reads(self, reader: int, operand: int) -> bool:
        uses = self.index.uses_by_step.get(reader, ())
        return any(use.role is Role.READS and use.operand == operand for _, use in uses)

    def _hands_on(self, index: int, norm: Norm) -> bool:
        """Whether a norm has a gain, or neither gain nor bias and nothing but readers behind it."""
        if norm.gain is not None:
            return index not in self.ledger.bare_norms
        uses = self.index.uses_by_step.get(norm.step, ())
        affine = any(self.var in leaves(self.index.expr(origin)) for origin, _ in uses)
        return not affine and self._is_read(norm.step)

    def _is_read(self, step: int) -> bool:
        """Whether nothing uses a result but readers of the channels."""
        if step in self.ledger.results:
            return False
        self.behind.add(step)
        steps = self.ledger.steps
        return all(
            self._reads(reader, step)
            or (
                steps[reader].operation in KEEPING
                and reader in self.spanning
                and _is_alone(self.index, step, steps[reader], self.var)
                and self._is_read(reader)
            )
            for reader in self.index.readers.get(step, ())
        )


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
