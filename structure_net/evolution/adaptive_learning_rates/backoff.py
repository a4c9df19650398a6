"""Rates that back off when the network stops improving."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from structure_net.core.arguments import check_number, check_whole
from structure_net.errors import MissingAnalysisError
from structure_net.evolution.adaptive_learning_rates.rules import RateRule


class ExponentialBackoffScheduler(RateRule):
    r"""Lowers all rates on a plateau, each time by the same factor.

    After :math:`k` plateaus the factor is :math:`\max(b^k, f_{\min})`. A plateau is ``patience``
    epochs in a row in which the metric is not better than its best by more than ``min_delta``.
    Growth takes the factor back to 1: the plateau belonged to the old architecture.

    Args:
        backoff: :math:`b`, between 0 and 1.
        patience: Epochs.
        min_delta: In units of the metric.
        min_factor: :math:`f_{\min}`.
        metric: The name of the metric; lower is better, unless it ends with ``accuracy``.
        reset_on_growth: Whether growth takes everything back.

    Raises:
        TypeError: A number is none or not whole.
        ValueError: An argument is out of range.

    References:
        The seed's ``ExponentialBackoffScheduler``; plateaus as in
        ``torch.optim.lr_scheduler.ReduceLROnPlateau``.
    """

    title: ClassVar[str] = "backoff"

    def __init__(
        self,
        backoff: float = 0.5,
        patience: int = 5,
        *,
        min_delta: float = 1e-4,
        min_factor: float = 1e-3,
        metric: str = "validation_loss",
        reset_on_growth: bool = True,
    ) -> None:
        check_number(backoff=backoff, min_factor=min_factor)
        check_number(0, min_delta=min_delta)
        check_whole(1, patience=patience)
        if not 0 < backoff < 1:
            raise ValueError(f"backoff must be in (0, 1); got {backoff}.")
        if not 0 < min_factor <= 1:
            raise ValueError(f"min_factor must be in (0, 1]; got {min_factor}.")
        self.backoff = backoff
        self.patience = patience
        self.min_delta = min_delta
        self.min_factor = min_factor
        self.metric = metric
        self.reset_on_growth = reset_on_growth
        self.reads_ages = reset_on_growth

    def overall(self, memory: Mapping[str, Any]) -> float:
        """``max(backoff ** plateaus, min_factor)``."""
        return max(self.backoff ** int(memory.get("plateaus", 0)), self.min_factor)

    def after_epoch(
        self, memory: Mapping[str, Any], metrics: Mapping[str, float], *, grew: bool
    ) -> Mapping[str, Any]:
        """Counts the epochs without improvement.

        Raises:
            MissingAnalysisError: The metric was not measured.
        """
        if self.metric not in metrics:
            known = ", ".join(sorted(metrics)) or "nothing"
            raise MissingAnalysisError(
                f"ExponentialBackoffScheduler needs the metric {self.metric!r}, which was not"
                f" measured (there is: {known}). Name one of these: metric=..."
            )
        if grew and self.reset_on_growth:
            memory = {}
        value = metrics[self.metric]
        loss = -value if self.metric.endswith("accuracy") else value
        best, waited = memory.get("best"), int(memory.get("waited", 0))
        plateaus = int(memory.get("plateaus", 0))
        if math.isfinite(loss) and (best is None or loss < best - self.min_delta):
            return {"best": loss, "waited": 0, "plateaus": plateaus}
        over = waited + 1 >= self.patience
        return {"best": best, "waited": 0 if over else waited + 1, "plateaus": plateaus + over}
