"""Units that do next to nothing begin anew, so that a network keeps learning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor

from structure_net.core.arguments import check_number, check_whole
from structure_net.evolution.components.strategies.feasible import editable_layers
from structure_net.evolution.components.strategies.prunable import twin_of, works
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.editing import Proposal
from structure_net.evolution.interfaces import EditingStrategy
from structure_net.evolution.metrics.units import DORMANT_SCORE
from structure_net.evolution.metrics.utility import replacements_due
from structure_net.evolution.metrics.validity import Unavailable
from structure_net.graph.channels import ChannelGroup
from structure_net.surgery.edits import ResetNeurons
from structure_net.surgery.entries import EditEntry
from structure_net.surgery.journal import Journal

_STEP: Final = "step"


class ReDo(EditingStrategy):
    r"""ReDo: dormant units are reset, :math:`s_i = m_i / (\bar m + 10^{-9}) \le \tau`.

    A reset unit gets fresh incoming weights, a bias of 0, outgoing weights of 0 and empty optimizer
    state. Only layers with an activation behind them are asked, so that the head stays; layers that
    cannot change are passed over.

    Args:
        tau: 0 resets units that are exactly silent; .025 and .1 are in use.

    Raises:
        TypeError: ``tau`` is no number.
        ValueError: It is negative.

    References:
        Sokar et al., "The dormant neuron phenomenon in deep reinforcement learning", ICML 2023.
    """

    requires = frozenset({"extrema_dormancy"})

    def __init__(self, tau: float = DORMANT_SCORE) -> None:
        check_number(0, tau=tau)
        self.tau = tau

    def propose(self, context: NetworkContext, analysis: Any) -> list[Proposal]:
        """One reset for each layer with dormant units."""
        scores = analysis["extrema_dormancy"]
        wanted = {name: score <= self.tau for name, score in scores.items()}
        wanted = {name: mask for name, mask in wanted.items() if bool(mask.any())}
        if not wanted:
            return []
        context = context.with_example()
        groups, twin = editable_layers(context), twin_of(context.network)
        return [
            Proposal(ResetNeurons(name, units), self._said(units, scores[name]))
            for name, mask in wanted.items()
            if name in groups and (units := whole_units(groups[name], mask))
            if works(twin, context.example, ResetNeurons(name, units))
        ]

    def _said(self, units: tuple[int, ...], scores: Tensor) -> str:
        return f"reset {len(units)} dormant of {len(scores)} units (score <= {self.tau:g})"


class ContinualBackprop(EditingStrategy):
    r"""Continual backprop: now and then the mature unit of least utility begins anew.

    Every step adds :math:`\rho` for each mature unit of a layer to what may be replaced there;
    whole units are taken, the least useful first. A unit is mature that has lived for more than
    ``maturity`` steps. A replaced unit begins as in `ReDo`, and what it gave on average goes to the
    biases of its readers, so that the function stays in the mean.

    Lives are read from the journal, so that nothing is kept aside; where another edit changes a
    layer's width, the lives of its units count from there.

    Args:
        replacement_rate: :math:`\rho`, per step.
        maturity: In optimizer steps.
        score: The utility: the key of an analysis that maps layers to one number per unit. By
            default that of `UtilityAnalyzer`; "sensitivity_unit_taylor" is another.
        means: The key of what units give on average, by layer; that of `UtilityAnalyzer` by
            default. None: readers' biases stay as they are.

    Raises:
        TypeError: A number is none or not whole.
        ValueError: An argument is out of range.

    References:
        Dohare et al., "Loss of plasticity in deep continual learning", Nature 2024.
    """

    def __init__(
        self,
        replacement_rate: float = 1e-4,
        maturity: int = 100,
        *,
        score: str = "utility_contribution",
        means: str | None = "utility_mean",
    ) -> None:
        check_number(replacement_rate=replacement_rate)
        if not 0 < replacement_rate <= 1:
            raise ValueError(f"replacement_rate must be in (0, 1]; got {replacement_rate}.")
        check_whole(0, maturity=maturity)
        self.replacement_rate = replacement_rate
        self.maturity = maturity
        self.score = score
        self.means = means
        self.requires = frozenset({score} if means is None else {score, means})

    def propose(self, context: NetworkContext, analysis: Any) -> list[Proposal]:
        """One reset for each layer where a replacement is due."""
        now = max(context.step, context.history.step)
        lives = unit_lives(context.journal)
        due = {
            name: (utility, count, mature)
            for name, utility in analysis[self.score].items()
            if not isinstance(utility, Unavailable)
            for count, mature in [self._due(lives.get(name, Lives()), len(utility), now)]
            if count and bool(mature.any())
        }
        if not due:
            return []
        context = context.with_example()
        groups, twin = editable_layers(context), twin_of(context.network)
        return [
            Proposal(edit, f"replace {len(units)} of {len(utility)} units, the least useful")
            for name, (utility, count, mature) in due.items()
            if name in groups and groups[name].granularity == 1
            if (units := _least(utility, mature, count))
            if works(twin, context.example, edit := self._reset(name, units, analysis))
        ]

    def _reset(self, layer: str, units: tuple[int, ...], analysis: Any) -> ResetNeurons:
        means = {} if self.means is None else analysis.get(self.means, {})
        if layer not in means or isinstance(means[layer], Unavailable):
            return ResetNeurons(layer, units)
        return ResetNeurons(layer, units, tuple(means[layer][list(units)].tolist()))

    def _due(self, lives: Lives, units: int, now: int) -> tuple[int, Tensor]:
        """How many may be replaced, and which units are mature. Shape ``(units,)``, bool."""
        births = [lives.born.get(unit, lives.since) for unit in range(units)]
        spans = [*lives.over, *(now - birth for birth in births)]
        mature_steps = (max(0, span - self.maturity) for span in spans)
        count = replacements_due(self.replacement_rate, mature_steps, lives.replaced)
        return count, torch.tensor([now - birth > self.maturity for birth in births])


@dataclass(slots=True)
class Lives:
    """The lives of the units of one layer, in optimizer steps.

    Args:
        since: When those that are not named in ``born`` began.
        born: When the others did.
        over: How long the replaced ones lived.
        replaced: How many those are.
    """

    since: int = 0
    born: dict[int, int] = field(default_factory=dict)
    over: list[int] = field(default_factory=list)
    replaced: int = 0


def unit_lives(journal: Journal) -> dict[str, Lives]:
    """The lives of units as the journal tells them, by layer; of layers that an edit touched.

    A reset ends a life and begins another. An edit that changes a layer's width ends what is known
    of it.
    """
    found: dict[str, Lives] = {}
    for entry, step in _with_steps(journal):
        for change in entry.changes:
            found[change.layer] = Lives(step)
        if isinstance(entry.edit, ResetNeurons):
            lives = found.setdefault(entry.edit.layer, Lives())
            for unit in entry.edit.indices:
                lives.over.append(step - lives.born.get(unit, lives.since))
                lives.born[unit] = step
                lives.replaced += 1
    return found


def _with_steps(journal: Journal) -> Iterator[tuple[EditEntry, int]]:
    """Each edit with the step that the event behind it tells; 0 where none does."""
    waiting: list[EditEntry] = []
    for entry in journal:
        if isinstance(entry, EditEntry):
            waiting.append(entry)
        elif _STEP in entry.detail:
            yield from ((edit, int(entry.detail[_STEP])) for edit in waiting)
            waiting = []
    yield from ((edit, 0) for edit in waiting)


def whole_units(group: ChannelGroup, wanted: Tensor) -> tuple[int, ...]:
    """The channels of those units of a group that are wanted whole; one unit of all stays.

    Args:
        group: Of the layer.
        wanted: Of its channels. Shape ``(C,)``, bool.
    """
    chosen = wanted.tolist()
    whole = [channels for channels in group.channels if all(chosen[one] for one in channels)]
    return tuple(sorted(one for channels in whole[: len(group.channels) - 1] for one in channels))


def _least(utility: Tensor, mature: Tensor, count: int) -> tuple[int, ...]:
    """The ``count`` mature units of least utility, not all there are; of equals the first ones."""
    places = mature.nonzero().flatten()
    count = min(count, len(utility) - 1)
    order = torch.argsort(utility.cpu()[places], stable=True)[:count]
    return tuple(sorted(places[order].tolist()))
