"""Rates after growth: newborn entries warm up while the old scaffold holds still."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from structure_net.core.arguments import check_number, check_positive, check_whole
from structure_net.evolution.adaptive_learning_rates.rules import Factor, Place, RateRule


class GrowthPhaseScheduler(RateRule):
    r"""After each growth, rates of their own for what is new and for what was there.

    For ``growth_steps`` steps :math:`G` after something was born, entries born within the last
    :math:`G` steps get :math:`n \min(1, (a + 1) / W)` at age :math:`a`, and all others :math:`s`.
    Over the next ``return_steps`` all factors go back to 1 in a straight line.

    Args:
        newborn_factor: :math:`n`.
        scaffold_factor: :math:`s`; 0 freezes the old entries.
        growth_steps: :math:`G`, in steps.
        warmup_steps: :math:`W`, in steps; 0 for none.
        return_steps: In steps; 0 for a jump.

    Raises:
        TypeError: An argument is no number, or steps are not whole.
        ValueError: An argument is out of range.
    """

    title: ClassVar[str] = "growth"
    reads_ages = True

    def __init__(
        self,
        newborn_factor: float = 1.0,
        scaffold_factor: float = 0.1,
        *,
        growth_steps: int = 200,
        warmup_steps: int = 20,
        return_steps: int = 0,
    ) -> None:
        check_positive(newborn_factor=newborn_factor)
        check_number(0, scaffold_factor=scaffold_factor)
        check_whole(1, growth_steps=growth_steps)
        check_whole(0, warmup_steps=warmup_steps, return_steps=return_steps)
        self.newborn_factor = newborn_factor
        self.scaffold_factor = scaffold_factor
        self.growth_steps = growth_steps
        self.warmup_steps = warmup_steps
        self.return_steps = return_steps

    def local(self, place: Place) -> Factor:
        """1 outside the phase."""
        since = place.since_growth
        if since is None or place.age is None or since >= self.growth_steps + self.return_steps:
            return 1.0
        born = self._is_newborn(place, since)
        within = _blended(self._newborn(place.age), self.scaffold_factor, born)
        if since < self.growth_steps:
            return within
        back = (since - self.growth_steps + 1) / self.return_steps
        return within + (1.0 - within) * back

    def _is_newborn(self, place: Place, since: int) -> Tensor | bool:
        """Born in this phase: not there from the start, and young when the phase was on."""
        assert place.age is not None
        young = place.age < self.growth_steps + max(0, since - self.growth_steps + 1)
        if isinstance(place.original, Tensor):
            return young & ~place.original
        return young if not place.original else False

    def _newborn(self, age: Tensor | int) -> Factor:
        if not self.warmup_steps:
            return self.newborn_factor
        if isinstance(age, Tensor):
            return ((age + 1) / self.warmup_steps).clamp(max=1.0) * self.newborn_factor
        return min(1.0, (age + 1) / self.warmup_steps) * self.newborn_factor


def _blended(newborn: Factor, scaffold: float, born: Tensor | bool) -> Factor:
    if not isinstance(born, Tensor):
        return newborn if born else scaffold
    rest = torch.full((), scaffold, device=born.device)
    fresh = newborn if isinstance(newborn, Tensor) else torch.full_like(rest, newborn)
    return torch.where(born, fresh, rest)
