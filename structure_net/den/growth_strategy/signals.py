"""What strategies compute from the epochs so far: plateaus, running means, efficiency."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal

from structure_net.den.core import DynamicExpandableNetwork
from structure_net.den.measuring import gradient_norms, layer_activities
from structure_net.errors import MissingAnalysisError
from structure_net.evolution.metrics.activity import activity_trace, parameter_efficiency
from structure_net.evolution.metrics.validity import Unavailable

ByLayer = Mapping[str, float]
ChangeType = Literal["width", "depth", "prune"]
Series = Literal["gradients", "magnitudes", "activities"]


@dataclass(frozen=True, slots=True)
class Moment:
    """One epoch.

    Args:
        epoch: Its number.
        loss: :math:`L_t`.
        parameters: :math:`n`.
        gradients: :math:`g_i`, by layer.
        magnitudes: :math:`\\alpha_i`, by layer.
        activities: :math:`\\hat a_i`, by layer.
    """

    epoch: int
    loss: float
    parameters: int
    gradients: ByLayer = field(default_factory=dict)
    magnitudes: ByLayer = field(default_factory=dict)
    activities: ByLayer = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Signals:
    """The epochs of a network up to now, and the network as it stands.

    Args:
        moments: Oldest first.
        changes: Epoch and type of each growth and pruning so far.
        layers: The names of the hidden layers.
        sizes: Their units.
    """

    moments: tuple[Moment, ...]
    changes: tuple[tuple[int, ChangeType], ...]
    layers: tuple[str, ...]
    sizes: tuple[int, ...]

    @property
    def now(self) -> Moment:
        """The newest epoch."""
        return self.moments[-1]

    @property
    def losses(self) -> list[float]:
        """Oldest first."""
        return [moment.loss for moment in self.moments]

    @property
    def mean_size(self) -> float:
        """:math:`\\mu`."""
        return fmean(self.sizes)

    def since(self, *types: ChangeType) -> float:
        """Epochs since the last change of these types; infinite if there was none."""
        epochs = [epoch for epoch, kind in self.changes if kind in types]
        return self.now.epoch - epochs[-1] if epochs else math.inf

    def widths_since_depth(self) -> int:
        """Width expansions since the last depth expansion."""
        count = 0
        for _, kind in self.changes:
            count = 0 if kind == "depth" else count + (kind == "width")
        return count

    def traced(self, series: Series, window: int) -> dict[str, float]:
        """For each layer the mean over its last ``window`` epochs: :math:`\\bar g_i`, or another.

        Layers of which no epoch tells anything, such as newborn ones, are left out.

        Raises:
            MissingAnalysisError: No epoch tells anything of any layer.
        """
        found: dict[str, float] = {}
        for name in self.layers:
            values = [by[name] for m in self.moments if name in (by := getattr(m, series))]
            if values:
                found[name] = activity_trace(values, window)
        if not found:
            key = _KEYS[series]
            raise MissingAnalysisError(
                f"The strategy needs metrics[{key!r}], by layer, which nobody measured. DENTrainer"
                " does; in an evolution system add DENSignalsAnalyzer."
            )
        return found

    def efficiencies(self, window: int) -> list[float]:
        r""":math:`E_\tau = 1 / (L_\tau (1 + n_\tau / 1000))` for :math:`\tau` from t - k to t.

        Epochs whose loss is not positive have none.

        Args:
            window: ``k``.
        """
        values = [parameter_efficiency(m.loss, m.parameters) for m in self.moments[-window - 1 :]]
        return [value for value in values if not isinstance(value, Unavailable)]

    def efficiency_declines(self, window: int) -> bool:
        r"""Whether :math:`E_t < 0.8\, \bar E`, the mean being over epochs t - k to t."""
        found = self.efficiencies(window)
        return len(found) > 1 and found[-1] < 0.8 * fmean(found)


_KEYS: Mapping[Series, str] = {
    "gradients": "gradient_norms",
    "magnitudes": "activation_magnitudes",
    "activities": "activities",
}


def patience_counter(losses: Iterable[float], min_delta: float) -> int:
    r""":math:`p_t`: epochs since the loss last fell more than ``min_delta`` below its best.

    Args:
        losses: Oldest first; the first one always counts as an improvement.
        min_delta: :math:`\delta`.
    """
    best, waited = math.inf, 0
    for loss in losses:
        waited = 0 if best - loss > min_delta else waited + 1
        best = min(best, loss)
    return waited


def signals_of(
    metrics: Mapping[str, Any],
    network: DynamicExpandableNetwork,
    *,
    epoch: int,
    moments: Sequence[Moment] = (),
    changes: Sequence[tuple[int, ChangeType]] = (),
) -> Signals:
    """The signals in metrics; see `GrowthStrategy` for their keys.

    Args:
        metrics: Of the epoch that is over. What they lack is read off the network.
        network: Read only.
        epoch: The epoch that is over.
        moments: The epochs before, where the metrics hold no ``history``.
        changes: What was done before, where the metrics hold no ``growth_events``.
    """
    layers = network.hidden
    if "history" in metrics:
        past = tuple(_moment(one, one["epoch"]) for one in metrics["history"])
    else:
        past = (*moments, moment_of(metrics, network, epoch))
    if "growth_events" in metrics:
        changes = [(event["epoch"], event["type"]) for event in metrics["growth_events"]]
    names, sizes = tuple(one.name for one in layers), tuple(one.size for one in layers)
    return Signals(past, tuple(changes), names, sizes)


def moment_of(metrics: Mapping[str, Any], network: DynamicExpandableNetwork, epoch: int) -> Moment:
    """One epoch; what its metrics lack is read off the network, gradients where it holds them.

    Raises:
        MissingAnalysisError: The metrics hold no ``loss``.
    """
    if "loss" not in metrics:
        raise MissingAnalysisError(
            f"A strategy needs metrics['loss']; got {', '.join(sorted(metrics)) or 'nothing'}."
        )
    names = [layer.name for layer in network.hidden]
    read: dict[str, Callable[[], ByLayer]] = {
        "gradient_norms": lambda: gradient_norms(network),
        "activation_magnitudes": dict,
        "activities": lambda: layer_activities(network),
    }
    found = {
        key: _by_layer(metrics[key], names) if key in metrics else default()
        for key, default in read.items()
    }
    parameters = metrics.get("num_parameters", network.get_num_parameters())
    return _moment({**found, "loss": metrics["loss"], "num_parameters": parameters}, epoch)


def _moment(metrics: Mapping[str, Any], epoch: int) -> Moment:
    return Moment(
        epoch=epoch,
        loss=float(metrics["loss"]),
        parameters=metrics["num_parameters"],
        gradients=metrics.get("gradient_norms", {}),
        magnitudes=metrics.get("activation_magnitudes", {}),
        activities=metrics.get("activities", {}),
    )


def _by_layer(values: Any, names: Sequence[str]) -> ByLayer:
    """Values by layer, also where they are listed in the order of the layers."""
    if isinstance(values, Mapping):
        return values
    return dict(zip(names, map(float, values), strict=True))
