"""Rates by age: what is young learns faster, or slower, than what is old."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from structure_net.core.arguments import check_positive
from structure_net.evolution.adaptive_learning_rates.rules import Factor, Place, RateRule

_SETTLED = 0.01
"""A factor this near to 1 counts as 1, so that old entries cost nothing."""


class AgeBasedRates(RateRule):
    r"""A factor that goes from ``young_factor`` at birth to 1 with age.

    .. math:: f(a) = 1 + (y - 1)\, 2^{-a / h}

    Entries that were there from the start are as old as the rates are attached. A factor within .01
    of 1 counts as 1.

    Args:
        young_factor: :math:`y`, at birth; above 1 for plastic young entries.
        half_life: :math:`h`, in steps.

    Raises:
        TypeError: An argument is no number.
        ValueError: An argument is not positive.
    """

    title: ClassVar[str] = "age"
    reads_ages = True

    def __init__(self, young_factor: float = 2.0, half_life: float = 200.0) -> None:
        check_positive(young_factor=young_factor, half_life=half_life)
        self.young_factor = young_factor
        self.half_life = half_life
        self._grown = half_life * math.log2(max(abs(young_factor - 1.0) / _SETTLED, 1.0))

    def local(self, place: Place) -> Factor:
        """See the class."""
        extra = self.young_factor - 1.0
        if isinstance(place.age, Tensor):
            factor = 1.0 + extra * torch.exp2(-place.age / self.half_life)
            return factor.masked_fill_(place.age >= self._grown, 1.0)
        if place.age is None or place.age >= self._grown:
            return 1.0
        return float(1.0 + extra * 2.0 ** (-place.age / self.half_life))
