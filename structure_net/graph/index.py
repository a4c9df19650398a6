"""What a ledger holds, by variable and by step."""

from __future__ import annotations

from functools import cached_property
from typing import Final

from structure_net.graph.channels import Role
from structure_net.graph.ledger import Contraction, Ledger, Norm, Origin, Use
from structure_net.graph.rules.elementwise import COPIES, UNARY
from structure_net.graph.sizes import Expr, Var, leaves, resolve

BEHIND_HEADS: Final = frozenset((
    *UNARY, *COPIES, "softmax", "_softmax", "log_softmax", "_log_softmax", "view", "reshape",
    "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "permute", "transpose",
    "select", "mul", "add", "sub", "div", "mean", "sum",
))  # fmt: skip
"""Operations that stand between a head and the model's output."""


class Index:
    """Look-ups over a ledger, each computed when it is first asked for.

    Args:
        ledger: What a walk collected.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._neighbours: dict[Var, set[Var]] = {}

    @cached_property
    def origins(self) -> dict[Var, list[Origin]]:
        """The parameter axes that each variable is part of."""
        out: dict[Var, list[Origin]] = {}
        for name, exprs in self.ledger.tensors.items():
            for i, expr in enumerate(exprs):
                for var in dict.fromkeys(leaves(expr)):
                    out.setdefault(var, []).append((name, i))
        return out

    @cached_property
    def steps(self) -> dict[Var, list[int]]:
        """The steps whose results span each variable."""
        out: dict[Var, list[int]] = {}
        for index, step in enumerate(self.ledger.steps):
            for var in dict.fromkeys(
                v for axes in step.outputs for dim in axes for v in leaves(dim.expr)
            ):
                out.setdefault(var, []).append(index)
        return out

    @cached_property
    def uses_by_step(self) -> dict[int, list[tuple[Origin, Use]]]:
        """What parameters do, by step."""
        out: dict[int, list[tuple[Origin, Use]]] = {}
        for origin, uses in self.ledger.uses.items():
            for use in uses:
                out.setdefault(use.step, []).append((origin, use))
        return out

    @cached_property
    def directions(self) -> frozenset[Origin]:
        """The axes on which a normalised weight keeps the directions of its rows, whose length
        means nothing."""
        sites = self.ledger.weight_norms
        return frozenset((site.direction, site.dim) for site in sites if site.dim is not None)

    @cached_property
    def spectral(self) -> frozenset[str]:
        """The weights that are divided by their spectral norm."""
        return frozenset(site.weight for site in self.ledger.spectral_norms)

    @cached_property
    def estimates(self) -> frozenset[str]:
        """The vectors that estimate spectral norms; what is new in them is zero."""
        return frozenset(name for s in self.ledger.spectral_norms for name in (s.u, s.v))

    @cached_property
    def offsets(self) -> dict[str, float]:
        """What the code adds to the gains of normalisations, as in ``1 + weight``, by their
        names."""
        return {n.gain: n.offset for n in self.ledger.norms if n.gain is not None and n.offset}

    def norms(self, var: Var) -> list[tuple[int, Norm]]:
        """The normalisations over an axis that ``var`` is part of."""
        return [(i, norm) for i, norm in enumerate(self.ledger.norms) if var in leaves(norm.expr)]

    def contractions(self, var: Var) -> list[Contraction]:
        """The sums over an axis that ``var`` is part of."""
        return [c for c in self.ledger.contractions if var in leaves(c.expr)]

    def expr(self, origin: Origin) -> Expr:
        """The size of a parameter axis."""
        return resolve(self.ledger.tensors[origin[0]][origin[1]])

    def neighbours(self, var: Var) -> set[Var]:
        """``var`` and the variables that share an axis with it, of a parameter or of a result."""
        if var not in self._neighbours:
            exprs = [self.expr(origin) for origin in self.origins.get(var, ())]
            steps = (self.ledger.steps[index] for index in self.steps.get(var, ()))
            exprs += [dim.expr for step in steps for axes in step.outputs for dim in axes]
            shared = [found for expr in exprs if var in (found := leaves(expr))]
            self._neighbours[var] = {var}.union(*shared)
        return self._neighbours[var]

    @cached_property
    def readers(self) -> dict[int, list[int]]:
        """The steps that read each step's result."""
        out: dict[int, list[int]] = {}
        for index, step in enumerate(self.ledger.steps):
            for source in step.inputs:
                out.setdefault(source, []).append(index)
        return out

    def heads_output(self, step: int) -> bool:
        """Whether nothing reads a step's result but the model's output, other than entry by entry,
        after a softmax, or in another shape."""
        if step in self.ledger.results:
            return True
        readers = self.readers.get(step, ())
        steps = self.ledger.steps
        plain = all(
            steps[r].operation in BEHIND_HEADS and len(steps[r].inputs) == 1 for r in readers
        )
        return bool(readers) and plain and all(map(self.heads_output, readers))

    def parametric(self, step: int) -> bool:
        """Whether a step's result is computed from parameters alone by linear operations."""
        return any(dim.origins for axes in self.ledger.steps[step].outputs for dim in axes)

    def tied(self, origin: Origin) -> bool:
        """Whether a parameter axis both reads channels and does something else on them."""
        roles = {use.role for use in self.ledger.uses[origin]}
        return Role.READS in roles and len(roles) > 1
