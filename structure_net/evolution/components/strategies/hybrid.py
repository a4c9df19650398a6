"""A strategy of strategies: by priority, by vote, or by tournament."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

from structure_net.evolution.acceptance import Acceptance, Tournament
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.editing import Proposal
from structure_net.evolution.interfaces import EditingStrategy
from structure_net.surgery import Initialiser
from structure_net.surgery.edits import Edit

Mode = Literal["priority", "vote", "tournament"]


class HybridGrowthStrategy(EditingStrategy):
    """Lets several strategies decide together.

    - By **priority**: what the first one proposes that proposes anything.
    - By **vote**: every edit for which more than half of the strategies propose one of the same
      kind at the same layer, as the first of them proposes it. Two edits count as being at the same
      place if their ``layer`` (``source`` for skip connections) is the same.
    - By **tournament**: each strategy's proposals are tried for a few batches on a fork, and the
      best by held-out score is carried out; none is if none helps. So each must be worth a growth
      by itself, and a validation loader is needed. Without another policy
      (``add_component(whether=...)``), ``tournament`` judges.

    A strategy that proposes the same as one in front of it is tried once.

    Args:
        strategies: At least two, the most important first.
        mode: How they decide.
        tournament: How candidates are tried; the default `Tournament` if None.

    Raises:
        TypeError: ``strategies`` is no list, or one of them has no ``propose``: what edits by hand
            cannot be compared.
        ValueError: There are less than two strategies, or the mode is unknown.
    """

    def __init__(
        self,
        strategies: Sequence[EditingStrategy],
        mode: Mode = "priority",
        *,
        tournament: Tournament | None = None,
    ) -> None:
        if not isinstance(strategies, Sequence):
            raise TypeError(
                "strategies must be a list of two strategies or more; got"
                f" {type(strategies).__name__}."
            )
        for strategy in strategies:
            if not isinstance(strategy, EditingStrategy):
                raise TypeError(
                    "HybridGrowthStrategy compares what strategies propose, and"
                    f" {type(strategy).__name__} proposes nothing. Derive it from EditingStrategy."
                )
        if len(strategies) < 2:
            raise ValueError(f"Two strategies or more can decide together; got {len(strategies)}.")
        if mode not in get_args(Mode):
            raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}; got {mode!r}.")
        self.strategies = tuple(strategies)
        self.mode: Mode = mode
        self.tournament = tournament
        self.requires = frozenset().union(*(strategy.requires for strategy in strategies))
        judge: Acceptance | None = (tournament or Tournament()) if mode == "tournament" else None
        self.whether = judge

    def propose(self, context: NetworkContext, analysis: Any) -> list[Proposal]:
        """What was decided; in tournament mode all candidates, one after the other."""
        found = self._candidates(context, analysis)
        if self.mode == "priority":
            return list(found[0]) if found else []
        if self.mode == "vote":
            return self._elected(found)
        return [proposal for candidate in found for proposal in candidate]

    def options(self, context: NetworkContext, analysis: Any) -> tuple[tuple[Proposal, ...], ...]:
        """What a tournament chooses from: the proposals of each strategy."""
        return self._candidates(context, analysis)

    def _candidates(
        self, context: NetworkContext, analysis: Any
    ) -> tuple[tuple[Proposal, ...], ...]:
        """The proposals of each strategy that has any, with its name in front of the reasons."""
        found: list[tuple[Proposal, ...]] = []
        for strategy in self.strategies:
            name = type(strategy).__name__
            proposals = tuple(
                replace(p, reason=f"{name}: {p.reason}" if p.reason else name)
                for p in strategy.proposals(context, analysis)
            )
            known = [_asked(candidate) for candidate in found]
            repeated = self.mode == "tournament" and _asked(proposals) in known
            if proposals and not repeated:
                found.append(proposals)
        return tuple(found)

    def _elected(self, found: Sequence[Sequence[Proposal]]) -> list[Proposal]:
        votes = Counter(place for candidate in found for place in {_place(p) for p in candidate})
        elected: dict[tuple[str, str], Proposal] = {}
        for candidate in found:
            for proposal in candidate:
                place = _place(proposal)
                if votes[place] > len(self.strategies) / 2 and place not in elected:
                    said = f"{proposal.reason} ({votes[place]} of {len(self.strategies)} votes)"
                    elected[place] = replace(proposal, reason=said)
        return list(elected.values())


def _asked(proposals: Sequence[Proposal]) -> list[tuple[Edit, Initialiser | None]]:
    """What is to be done, whatever the reasons."""
    return [(one.edit, one.initialiser) for one in proposals]


def _place(proposal: Proposal) -> tuple[str, str]:
    edit = proposal.edit
    where = getattr(edit, "layer", None) or getattr(edit, "source", "")
    return type(edit).__name__, str(where)
