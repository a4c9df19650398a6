"""How each variable can change: by any count, by copies only, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from structure_net.graph.channels import Fill, Growth, Role
from structure_net.graph.index import Index
from structure_net.graph.ledger import Ledger, Origin
from structure_net.graph.norms import BY_WRITERS
from structure_net.graph.pairs import expected, rooted, shared
from structure_net.graph.sizes import Expr, Prod, Var, resolve
from structure_net.graph.states import RefusalError
from structure_net.graph.writers import gains_before, powers


@dataclass(frozen=True, slots=True)
class Expansion:
    """How one variable can change.

    Args:
        growth: How it grows.
        fills: What new entries of each parameter axis hold.
        weights: For parameter axes whose new entries are a mean, the tensor that weighs it, if one
            does.
        powers: The power of the growth that parameter axes are multiplied by, where the norms
            cannot follow (`structure_net.graph.writers`).
        halved: Axes that are divided among copies so that a tied reader need not be.
        refusal: Why it does not grow by any count, where ``growth`` is `Growth.DOUBLING`.
        doubling_refusal: Why copying is not exact, or None.
        reason: Why it cannot change at all, or None.
    """

    growth: Growth
    fills: Mapping[Origin, Fill] = field(default_factory=dict)
    weights: Mapping[Origin, str] = field(default_factory=dict)
    powers: Mapping[Origin, float] = field(default_factory=dict)
    halved: frozenset[Origin] = frozenset()
    refusal: str | None = None
    doubling_refusal: str | None = None
    reason: str | None = None


class Expansions:
    """The ways in which the variables of a ledger can change; computed when asked, kept.

    Args:
        ledger: What a walk collected.
        compensable: For each normalisation, None if its gain and epsilon can follow, else why not.
    """

    def __init__(self, ledger: Ledger, compensable: Mapping[int, str | None]) -> None:
        self.index = Index(ledger)
        self.compensable = compensable
        self._known: dict[Var, Expansion] = {}

    def of(self, var: Var) -> Expansion:
        """How ``var`` can change."""
        if var not in self._known:
            self._known[var] = self._expansion(var)
        return self._known[var]

    def _expansion(self, var: Var) -> Expansion:
        if var.reason is not None:
            return Expansion(Growth.FREE, reason=var.reason)
        halved, doubling_refusal = self._doubling(var)
        try:
            grown = self._growth(var)
        except RefusalError as refusal:
            if doubling_refusal is not None:
                return Expansion(Growth.DOUBLING, reason=_both(str(refusal), doubling_refusal))
            grown = Expansion(Growth.DOUBLING, self._copies(var), refusal=str(refusal))
        return replace(grown, halved=halved, doubling_refusal=doubling_refusal)

    def _copies(self, var: Var) -> dict[Origin, Fill]:
        reads = {Role.READS}
        return {
            origin: Fill.ZERO
            if {u.role for u in self.index.ledger.uses[origin]} == reads
            else Fill.RANDOM
            for origin in self.index.origins[var]
        }

    def _doubling(self, var: Var) -> tuple[frozenset[Origin], str | None]:
        """What copying all units has to halve beside the readers, and why it is not exact."""
        tied = {origin for origin in self.index.origins.get(var, ()) if self.index.tied(origin)}
        halved = gains_before(self.index, var, tied) if tied else set()
        if halved is None:
            name = min(tied)[0]
            return frozenset(), f"'{name}', which both writes and reads these channels"
        spectral = [
            name for name, _ in self.index.origins.get(var, ()) if name in self.index.spectral
        ]
        if spectral:
            return frozenset(), f"'{spectral[0]}', whose spectral norm copies change"
        for _, norm in self.index.norms(var):
            if norm.lost:
                return frozenset(), f"{norm}, whose variance is not divided by all channels"
            if not _uniform(norm.expr, var):
                return frozenset(), f"{norm}, which spans other channels as well"
        try:
            return frozenset(halved | shared(self.index, var)), None
        except RefusalError as refusal:
            return frozenset(), str(refusal)

    def _growth(self, var: Var) -> Expansion:
        norms = self.index.norms(var)
        kinds = {norm.kind for _, norm in norms}
        fixed = [(n, why) for i, n in norms if (why := self.compensable.get(i)) is not None]
        others = [(norm, why) for norm, why in fixed if why not in BY_WRITERS]
        if others:
            raise RefusalError(f"{others[0][0]}, which {others[0][1]}")
        if len(kinds) > 1:
            raise RefusalError("a LayerNorm and an RMSNorm over the same channels")
        growth = {"layer": Growth.CENTRED, "rms": Growth.SCALED}.get(
            next(iter(kinds), ""), Growth.FREE
        )
        expectation, fills = expected(self.index, var, growth)
        by_writers = (
            powers(expectation, fills, f"{fixed[0][0]}, which {fixed[0][1]}")
            if fixed
            else rooted(self.index, var)
        )
        return Expansion(growth, fills, expectation.weights, by_writers)


def _both(first: str, second: str) -> str:
    return first if first == second else f"{first}, and {second}"


def _uniform(expr: Expr, var: Var) -> bool:
    """Whether copying all of ``var`` repeats the whole axis."""
    expr = resolve(expr)
    if isinstance(expr, Var):
        return expr is var
    if isinstance(expr, Prod):
        return any(_uniform(factor, var) for factor in expr.factors)
    return all(_uniform(part, var) for part in expr.parts)
