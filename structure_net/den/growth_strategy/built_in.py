"""What the four strategies share: a plateau, a cooldown, a largest size, and actions."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from structure_net.core.arguments import check_number, check_whole
from structure_net.den.core import DynamicExpandableNetwork
from structure_net.den.growth_strategy.interface import Action, GrowthStrategy, Metrics
from structure_net.den.growth_strategy.signals import (
    ChangeType,
    Moment,
    Signals,
    moment_of,
    patience_counter,
    signals_of,
)


class BuiltInGrowth(GrowthStrategy):
    r"""Grows where a reason of its own meets :math:`p_t \ge P`, :math:`c_t \ge C` and room.

    :math:`p_t` counts the epochs since the loss last fell by more than :math:`\delta` below its
    best, :math:`c_t` those since the last growth (infinite where there was none).

    Metrics that hold a ``history`` are all that is read, so that the same metrics give the same
    answer. Without one, the strategy keeps the epochs that it is asked about itself, each under its
    number, and takes every yes for a growth.

    Args:
        patience: :math:`P`, in epochs.
        cooldown: :math:`C`, in epochs.
        min_delta: :math:`\delta`, in units of the loss.
        max_neurons_per_expansion: The most units that are added at once.
        max_network_size: No growth at so many parameters; None for no limit.
        max_layers: No more hidden layers than these.

    Raises:
        TypeError: An argument is no number, or not whole where it counts something.
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        *,
        patience: int,
        cooldown: int,
        min_delta: float,
        max_neurons_per_expansion: int,
        max_network_size: int | None,
        max_layers: int,
    ) -> None:
        check_whole(0, patience=patience, cooldown=cooldown, max_layers=max_layers)
        check_number(0, min_delta=min_delta)
        check_whole(1, max_neurons_per_expansion=max_neurons_per_expansion)
        if max_network_size is not None:
            check_whole(0, max_network_size=max_network_size)
        self.patience = patience
        self.cooldown = cooldown
        self.min_delta = min_delta
        self.max_neurons_per_expansion = max_neurons_per_expansion
        self.max_network_size = max_network_size
        self.max_layers = max_layers
        self._moments: dict[int, Moment] = {}
        self._changes: dict[int, ChangeType] = {}

    def should_grow(
        self, metrics: Metrics, network: DynamicExpandableNetwork, epoch: int
    ) -> tuple[bool, str | None]:
        """See `GrowthStrategy.should_grow`."""
        if "history" not in metrics:
            self._moments[epoch] = moment_of(metrics, network, epoch)
        signals = self._signals(metrics, network, epoch)
        reason = self._reason(signals) if self._may_grow(signals) else None
        if "history" not in metrics:
            self._changes.pop(epoch, None)
            if reason is not None:
                self._changes[epoch] = "width"
        return reason is not None, reason

    def determine_growth_action(
        self, metrics: Metrics, network: DynamicExpandableNetwork
    ) -> Action:
        """See `GrowthStrategy.determine_growth_action`."""
        epoch = metrics.get("epoch", max(self._moments, default=0))
        action = self._action(self._signals(metrics, network, epoch), network)
        if "history" not in metrics:
            self._changes[epoch] = action["type"]
        return action

    @abstractmethod
    def _reason(self, signals: Signals) -> str | None:
        """Why to grow on this plateau; None if there is no reason."""

    @abstractmethod
    def _action(self, signals: Signals, network: DynamicExpandableNetwork) -> dict[str, Any]:
        """How to grow."""

    def _may_grow(self, signals: Signals) -> bool:
        room = self.max_network_size is None or signals.now.parameters < self.max_network_size
        waited = patience_counter(signals.losses, self.min_delta)
        rested = signals.since("width", "depth") >= self.cooldown
        return waited >= self.patience and rested and room

    def _may_deepen(self, network: DynamicExpandableNetwork) -> bool:
        return network.deepens and len(network.hidden) < self.max_layers

    def _plateau(self, signals: Signals) -> str:
        waited = patience_counter(signals.losses, self.min_delta)
        return f"no epoch of the last {waited} improved the loss by {self.min_delta:.2g}"

    def _wider(self, layer: int, units: int) -> dict[str, Any]:
        units = max(1, min(units, self.max_neurons_per_expansion))
        return {"type": "width", "layer_idx": layer, "num_neurons": units}

    def _deeper(self, signals: Signals) -> dict[str, Any]:
        r""":math:`\min(\lfloor \mu \rfloor, n_{max})` units at :math:`\lfloor N / 2 \rfloor`."""
        units = min(int(signals.mean_size), self.max_neurons_per_expansion)
        return {"type": "depth", "position": len(signals.sizes) // 2, "num_neurons": units}

    def _signals(self, metrics: Metrics, network: DynamicExpandableNetwork, epoch: int) -> Signals:
        earlier = [moment for number, moment in sorted(self._moments.items()) if number < epoch]
        changes = [
            (number, kind) for number, kind in sorted(self._changes.items()) if number < epoch
        ]
        if epoch in self._moments and "history" not in metrics:
            held = self._moments[epoch]
            layers = network.hidden
            names, sizes = tuple(one.name for one in layers), tuple(one.size for one in layers)
            return Signals((*earlier, held), tuple(changes), names, sizes)
        return signals_of(metrics, network, epoch=epoch, moments=earlier, changes=changes)


def largest(values: dict[str, float], signals: Signals) -> int:
    """The place of the layer with the largest value, the first one of equals."""
    best = max(values, key=values.__getitem__)
    return signals.layers.index(best)
