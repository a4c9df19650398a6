"""What an acceptance policy chooses from: growths that a strategy offers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from structure_net.evolution.acceptance import Acceptance, Growth
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.editing import Proposal, carry_out
from structure_net.evolution.interfaces import EditingStrategy, GrowthStrategy


@dataclass(frozen=True, slots=True)
class Candidate:
    """A growth that may be carried out.

    Args:
        grow: Carries it out on the context that it is given.
        propose: Says what it consists of: nothing for a strategy that edits by hand.
    """

    grow: Growth
    propose: Callable[[], tuple[Proposal, ...]] = tuple


def candidates_of(
    strategy: GrowthStrategy, whether: Acceptance, context: NetworkContext, analysis: Any
) -> tuple[Candidate, ...]:
    """Every growth that the policy is to judge: all that is proposed as one, or each option."""

    def whole(grown: NetworkContext) -> NetworkContext:
        return strategy.grow(grown, analysis)

    if type(strategy).grow is not EditingStrategy.grow or not isinstance(strategy, EditingStrategy):
        return (Candidate(whole),)
    if not whether.compares:
        return (Candidate(whole, partial(strategy.proposals, context, analysis)),)
    name = type(strategy).__name__
    options = strategy.options(context, analysis)
    return tuple(Candidate(partial(_carried, name, o), partial(tuple, o)) for o in options)


def _carried(name: str, proposals: tuple[Proposal, ...], context: NetworkContext) -> NetworkContext:
    return carry_out(context, proposals, component=name)
