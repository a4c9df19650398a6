"""Triggers that read what the epochs measured.

A metric that no epoch has measured is an error as soon as there is an epoch: a trigger that can
never fire is a mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import Literal

from structure_net.core.arguments import check_number, check_whole
from structure_net.errors import MissingAnalysisError
from structure_net.evolution.metrics.activity import parameter_efficiency
from structure_net.evolution.metrics.validity import Unavailable
from structure_net.evolution.triggers.interface import Progress, Trigger, Whose, check_whose


@dataclass(frozen=True, slots=True)
class Plateau(Trigger):
    """Due when a metric has not improved by ``min_delta`` for ``patience`` epochs.

    Epochs are counted since the last growth, so that growth is given time to act. The first of
    them sets the level to beat; one that is not a number is beaten by any number.

    Args:
        patience: Epochs.
        min_delta: In units of the metric.
        metric: Its name.
        mode: Whether lower is better.
        smoothing: Of the metric, see `smoothed`.
        of: Whose growth: the strategy's own, or that of "all", so that growth by others is given
            time to act as well.

    Raises:
        ValueError: ``patience`` is below 1, ``min_delta`` negative, ``smoothing`` outside [0, 1),
            or ``of`` neither.
    """

    patience: int = 3
    min_delta: float = 0.0
    metric: str = "validation_loss"
    mode: Literal["min", "max"] = "min"
    smoothing: float = 0.0
    of: Whose = "own"

    def __post_init__(self) -> None:
        check_whole(1, patience=self.patience)
        check_whose(self.of)
        _check_smoothing(self.smoothing)
        check_number(0, min_delta=self.min_delta)
        if self.mode not in {"min", "max"}:
            raise ValueError(f"mode must be 'min' or 'max'; got {self.mode!r}.")

    def due(self, progress: Progress) -> str | None:
        """See `Trigger.due`."""
        _check_measured(self, progress, self.metric)
        sign = 1.0 if self.mode == "min" else -1.0
        measured = [
            sign * record.metrics[self.metric]
            for record in progress.history.since(progress.counted(self.of).growth_epoch)
            if self.metric in record.metrics
        ]
        values = smoothed(measured, self.smoothing)
        if not values:
            return None
        best, waited = values[0], 0
        for value in values[1:]:
            improved = value < best - self.min_delta or (isnan(best) and not isnan(value))
            best, waited = (value, 0) if improved else (best, waited + 1)
        if waited < self.patience:
            return None
        return f"{self.metric} did not improve on {sign * best:.4g} for {waited} epochs"


@dataclass(frozen=True, slots=True)
class _Threshold(Trigger):
    """A metric, and the value that it is held against."""

    metric: str
    threshold: float
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_number(threshold=self.threshold)
        _check_smoothing(self.smoothing)

    def _newest(self, progress: Progress) -> float | None:
        """The metric of the newest epoch, smoothed; None where that did not measure it."""
        _check_measured(self, progress, self.metric)
        last = progress.history.last
        if last is None or self.metric not in last.metrics:
            return None
        return smoothed(progress.history.series(self.metric), self.smoothing)[-1]


@dataclass(frozen=True, slots=True)
class MetricAbove(_Threshold):
    """Due when the newest epoch's ``metric`` is above ``threshold``.

    Args:
        metric: Its name.
        threshold: In its units.
        smoothing: Of the metric over all epochs so far, see `smoothed`.

    Raises:
        TypeError: ``threshold`` is no number.
        ValueError: It is not a number, or ``smoothing`` is outside [0, 1).
    """

    def due(self, progress: Progress) -> str | None:
        """See `Trigger.due`."""
        value = self._newest(progress)
        fired = value is not None and value > self.threshold
        return f"{self.metric} {value:.4g} is above {self.threshold:.4g}" if fired else None


@dataclass(frozen=True, slots=True)
class MetricBelow(_Threshold):
    """Due when the newest epoch's ``metric`` is below ``threshold``.

    Args:
        metric: Its name.
        threshold: In its units.
        smoothing: Of the metric over all epochs so far, see `smoothed`.

    Raises:
        TypeError: ``threshold`` is no number.
        ValueError: It is not a number, or ``smoothing`` is outside [0, 1).
    """

    def due(self, progress: Progress) -> str | None:
        """See `Trigger.due`."""
        value = self._newest(progress)
        fired = value is not None and value < self.threshold
        return f"{self.metric} {value:.4g} is below {self.threshold:.4g}" if fired else None


@dataclass(frozen=True, slots=True)
class EfficiencyDrop(Trigger):
    r"""Due when the network's efficiency has fallen below a fraction of its recent mean.

    .. math:: \eta = \frac{1}{L\,(1 + n / 1000)}, \qquad
              \eta_t < f \cdot \tfrac1k \textstyle\sum_{\tau = t - k}^{t - 1} \eta_\tau

    with the loss :math:`L` and the live parameters :math:`n` of each epoch.

    Args:
        fraction: :math:`f`.
        window: :math:`k`, in epochs; nothing is due before as many are over.
        metric: The loss; an epoch in which it is not positive has no efficiency.

    Raises:
        ValueError: ``fraction`` is outside (0, 1] or ``window`` below 1.

    References:
        The DEN library's "Network Efficiency" and "Efficiency History".
    """

    fraction: float = 0.8
    window: int = 5
    metric: str = "train_loss"

    def __post_init__(self) -> None:
        check_whole(1, window=self.window)
        check_number(fraction=self.fraction)
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction must be in (0, 1]; got {self.fraction}.")

    def due(self, progress: Progress) -> str | None:
        """See `Trigger.due`."""
        _check_measured(self, progress, self.metric)
        found = [
            parameter_efficiency(record.metrics[self.metric], record.parameters)
            for record in progress.history
            if self.metric in record.metrics
        ]
        known = [value for value in found if not isinstance(value, Unavailable)]
        if len(known) <= self.window or isinstance(found[-1], Unavailable):
            return None
        mean = sum(known[-1 - self.window : -1]) / self.window
        if not known[-1] < self.fraction * mean:
            return None
        return f"efficiency {known[-1]:.3g} fell below {self.fraction:.0%} of its mean {mean:.3g}"


def efficiency(loss: float, parameters: int) -> float:
    r""":math:`1 / (L (1 + n / 1000))`: performance for each parameter.

    Args:
        loss: :math:`L`.
        parameters: :math:`n`.

    Raises:
        ValueError: The loss is not positive.
    """
    if not loss > 0:
        raise ValueError(f"Efficiency is of a positive loss; got {loss}.")
    return float(parameter_efficiency(loss, parameters))


def smoothed(values: Sequence[float], smoothing: float) -> list[float]:
    r"""The exponential moving average :math:`s_t = \beta s_{t-1} + (1 - \beta) x_t`.

    Args:
        values: :math:`x_0, x_1, \dots`, oldest first; :math:`s_0 = x_0`. Behind a value that is not
            a number the average begins anew.
        smoothing: :math:`\beta`, in [0, 1); 0 leaves the values as they are.
    """
    found: list[float] = []
    for value in values:
        last = found[-1] if found and not isnan(found[-1]) else value
        found.append(smoothing * last + (1.0 - smoothing) * value if smoothing else value)
    return found


def _check_smoothing(smoothing: float) -> None:
    check_number(smoothing=smoothing)
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing must be in [0, 1); got {smoothing}.")


def _check_measured(reader: Trigger, progress: Progress, metric: str) -> None:
    """Refuses a metric that none of the epochs so far has measured."""
    history = progress.history
    if len(history) and not any(metric in record.metrics for record in history):
        measured = {name for record in history for name in record.metrics}
        known = ", ".join(sorted(measured)) or "nothing"
        raise MissingAnalysisError(
            f"{type(reader).__name__} needs the metric {metric!r}, which no epoch so far has"
            f" measured (there is: {known}). Name one of these, or measure it: the validation_..."
            " metrics need a validation_loader, others are given to after_epoch."
        )
