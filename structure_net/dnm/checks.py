"""When a morphogenesis is due: the validation accuracy hardly improves any more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from structure_net.errors import MissingAnalysisError


class ImprovementChecks:
    """Remembers the accuracy at each check, and says how much it improved since the last one.

    Asking again in the same epoch gives the same answer.

    Args:
        interval: Every so many epochs there is a check.
        threshold: An improvement below it is too small.

    Attributes:
        levels: The accuracy at each check, by epoch.
    """

    def __init__(self, interval: int, threshold: float) -> None:
        self.interval = interval
        self.threshold = threshold
        self.levels: dict[int, float] = {}

    def reason(self, epoch: int, accuracy: float, first: float | None) -> str | None:
        """Why a change is due, in words; None if it is not, or if ``epoch`` is none of a check.

        Args:
            epoch: Counted from 1.
            accuracy: Now.
            first: What the first check compares with: the first accuracy that was recorded before
                this epoch. Without one, the first check only sets the level.
        """
        if epoch % self.interval:
            return None
        before = max((known for known in self.levels if known < epoch), default=None)
        level = first if before is None else self.levels[before]
        self.levels[epoch] = accuracy
        if level is None or accuracy - level >= self.threshold:
            return None
        since = "the first epoch" if before is None else f"epoch {before}"
        return (
            f"validation accuracy {accuracy:.4f} is {accuracy - level:+.4f} since {since},"
            f" less than {self.threshold:+.4g}"
        )


def accuracy_of(metrics: Mapping[str, Any] | None, recorded: float | None) -> float:
    """The validation accuracy that was handed over, or else the last one recorded.

    Raises:
        MissingAnalysisError: There is neither.
        ValueError: It is not finite.
    """
    measured = None if metrics is None else metrics.get("accuracy")
    given = recorded if measured is None else measured
    if given is None:
        known = ", ".join(map(str, metrics or ())) or "nothing"
        raise MissingAnalysisError(
            f"DNMFramework needs the validation accuracy; val_metrics hold {known}. Pass"
            " {'accuracy': ...}, or call record_performance first."
        )
    accuracy = float(given)
    check_accuracy(accuracy)
    return accuracy


def check_accuracy(accuracy: float) -> None:
    """Refuses what is no number: a network that diverged has nothing to grow from.

    Raises:
        ValueError: It is not finite.
    """
    if not math.isfinite(accuracy):
        raise ValueError(
            f"The validation accuracy must be finite; got {accuracy}. The network has diverged, or"
            " nothing was validated: lower the learning rate, or look at the validation data."
        )
