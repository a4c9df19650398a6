"""Growth of active layers, pruning of weak units, and what a network costs."""

from __future__ import annotations

from statistics import fmean
from typing import Any, Final

from torch import Tensor

from structure_net.core.arguments import check_number, check_whole
from structure_net.den.core import DynamicExpandableNetwork
from structure_net.den.growth_strategy.built_in import BuiltInGrowth, largest
from structure_net.den.growth_strategy.interface import Action, Metrics
from structure_net.den.growth_strategy.signals import Signals
from structure_net.den.measuring import unit_importances
from structure_net.evolution.metrics.activity import (
    growth_score,
    metabolic_cost,
    relative,
    weak_units,
)
from structure_net.evolution.metrics.validity import Unavailable

_LARGE_GRADIENT: Final = 0.05
_VERY_ACTIVE: Final = 0.7
_WEAK_SHARE: Final = 0.2


class BiologicalGrowth(BuiltInGrowth):
    r"""Neurogenesis where layers are active, and synaptic pruning: use it or lose it.

    The activity of a unit is :math:`\sum_j |w_{ij}| + |b_i|`, that of a layer the mean over its
    units relative to the most active layer's, :math:`\bar A_i` its mean over the last
    ``hebbian_window`` epochs. Growth needs a plateau, a cooldown, room, and plasticity
    (:math:`\bar g > 0.05`, or :math:`\eta_t < 0.8` of its mean, for
    :math:`\eta = 1 / (L (1 + n / 1000))`) or high activity, :math:`\mathrm{mean}(\bar A_i) >
    \theta_A`.

    - Depth where :math:`\max \bar A_i > 0.7` and :math:`N <` ``max_layers``, 6 as written:
      :math:`\min(\lfloor \mu \rfloor, n_{max})` units at :math:`\lfloor N / 2 \rfloor`. Since one
      layer always has activity 1, that is nearly always so until ``max_layers`` is reached.
    - Else width, for the layer with the largest :math:`S_i = 2 \bar A_i + 1 / (n_i + 1)`:
      :math:`\min(b + \lfloor b \bar A_i \rfloor, n_{max})` units,
      :math:`b = \max(\lfloor 0.3\, n_i \rfloor, 2)`.

    Pruning: units of relative importance :math:`\hat\imath_j < \theta`, for
    :math:`I_j = \lVert w_{\cdot j} \rVert_2 + |b_j|`, where they are more than a fifth of a layer;
    the layer with the largest such share, its weakest units first, and never below
    ``min_layer_size`` units. More than 2 C epochs lie between two prunings (and before the first),
    and C after growth, since newborn units are read by nothing yet. What is weak goes before
    anything grows.

    :math:`n_{max}` names parameters in the condition of growth and units in its amount; here these
    are ``max_network_size`` and ``max_neurons_per_expansion``. The metabolic cost
    :math:`n^{1.2} w_{energy}` stands in no condition as written; ``max_energy`` makes it one.

    Args:
        patience: Epochs to wait for an improvement.
        cooldown: :math:`C`, epochs to wait after growth.
        activity_threshold: :math:`\theta_A`.
        pruning_threshold: :math:`\theta`.
        energy_cost_weight: :math:`w_{energy}`.
        max_neurons_per_expansion: The most units that are added at once.
        enable_pruning: Whether units are pruned.
        hebbian_window: Epochs over which activity, gradients and efficiency are averaged.
        min_delta: What counts as an improvement of the loss.
        max_network_size: No growth at so many parameters; None for no limit.
        max_layers: No more hidden layers than these.
        min_layer_size: Pruning leaves so many units.
        max_energy: No growth at this cost; None for no limit.

    Raises:
        TypeError: An argument is no number, or not whole where it counts something.
        ValueError: An argument is out of range.
    """

    def __init__(  # noqa: PLR0913 - the seed's parameters and its bounds
        self,
        patience: int = 12,
        cooldown: int = 8,
        *,
        activity_threshold: float = 0.3,
        pruning_threshold: float = 0.1,
        energy_cost_weight: float = 0.01,
        max_neurons_per_expansion: int = 16,
        enable_pruning: bool = True,
        hebbian_window: int = 5,
        min_delta: float = 1e-4,
        max_network_size: int | None = 10_000,
        max_layers: int = 6,
        min_layer_size: int = 8,
        max_energy: float | None = None,
    ) -> None:
        super().__init__(
            patience=patience,
            cooldown=cooldown,
            min_delta=min_delta,
            max_neurons_per_expansion=max_neurons_per_expansion,
            max_network_size=max_network_size,
            max_layers=max_layers,
        )
        check_number(activity_threshold=activity_threshold)
        check_number(0, pruning_threshold=pruning_threshold, energy_cost_weight=energy_cost_weight)
        check_number(max_energy=0 if max_energy is None else max_energy)
        check_whole(1, hebbian_window=hebbian_window, min_layer_size=min_layer_size)
        self.activity_threshold = activity_threshold
        self.pruning_threshold = pruning_threshold
        self.energy_cost_weight = energy_cost_weight
        self.enable_pruning = enable_pruning
        self.hebbian_window = hebbian_window
        self.min_layer_size = min_layer_size
        self.max_energy = max_energy

    def energy_cost(self, parameters: int) -> float:
        """The metabolic cost of a network with so many parameters."""
        return metabolic_cost(parameters, self.energy_cost_weight)

    def activities(self, signals: Signals) -> dict[str, float]:
        r""":math:`\bar A_i` of each layer."""
        return signals.traced("activities", self.hebbian_window)

    def should_prune(
        self, metrics: Metrics, network: DynamicExpandableNetwork, epoch: int
    ) -> tuple[bool, str | None]:
        """Whether more than a fifth of a layer is weak; see `GrowthStrategy.should_prune`."""
        signals = self._signals(metrics, network, epoch)
        last = min(signals.since("prune"), epoch - signals.moments[0].epoch + 1)
        rested = last > 2 * self.cooldown and signals.since("width", "depth") >= self.cooldown
        if not (self.enable_pruning and rested):
            return False, None
        found = self._weak(signals, network)
        if found is None:
            return False, None
        layer, weak = found
        reason = f"{len(weak)} of {signals.sizes[layer]} units of layer {layer} are hardly read"
        if "history" not in metrics:
            self._changes[epoch] = "prune"
        return True, reason

    def determine_pruning_action(
        self, metrics: Metrics, network: DynamicExpandableNetwork
    ) -> Action:
        """The weak units of the layer that has the largest share of them.

        Raises:
            ValueError: No layer has weak units.
        """
        epoch = metrics.get("epoch", max(self._moments, default=0))
        found = self._weak(self._signals(metrics, network, epoch), network)
        if found is None:
            raise ValueError("No layer has weak units; ask should_prune first.")
        return {"type": "prune", "layer_idx": found[0], "neuron_indices": found[1]}

    def _weak(
        self, signals: Signals, network: DynamicExpandableNetwork
    ) -> tuple[int, list[int]] | None:
        """The layer with the largest share of weak units, and those that may go."""
        best: tuple[float, int, list[int]] | None = None
        importances = unit_importances(network)
        for place, name in enumerate(signals.layers):
            importance = relative(importances[name])
            if isinstance(importance, Unavailable):
                continue
            weak = weak_units(importance, self.pruning_threshold)
            share, spare = float(weak.double().mean()), len(weak) - self.min_layer_size
            if share > _WEAK_SHARE and spare > 0 and (best is None or share > best[0]):
                best = share, place, _weakest(importance, weak, spare)
        return None if best is None else best[1:]

    def _may_grow(self, signals: Signals) -> bool:
        cost = self.energy_cost(signals.now.parameters)
        return super()._may_grow(signals) and (self.max_energy is None or cost < self.max_energy)

    def _reason(self, signals: Signals) -> str | None:
        active = fmean(self.activities(signals).values())
        if active > self.activity_threshold:
            return f"mean activity {active:.3g} is above {self.activity_threshold:.3g}"
        if signals.efficiency_declines(self.hebbian_window):
            return "efficiency declines"
        mean = fmean(signals.traced("gradients", self.hebbian_window).values())
        large = f"gradient norm {mean:.3g} is above {_LARGE_GRADIENT}"
        return large if mean > _LARGE_GRADIENT else None

    def _action(self, signals: Signals, network: DynamicExpandableNetwork) -> dict[str, Any]:
        activities = self.activities(signals)
        if max(activities.values()) > _VERY_ACTIVE and self._may_deepen(network):
            return self._deeper(signals)
        size = dict(zip(signals.layers, signals.sizes, strict=True))
        scores = {name: growth_score(a, size[name]) for name, a in activities.items()}
        layer = largest(scores, signals)
        base = max(int(signals.sizes[layer] * 0.3), 2)
        return self._wider(layer, base + int(base * activities[signals.layers[layer]]))


def _weakest(importance: Tensor, weak: Tensor, most: int) -> list[int]:
    order = importance.argsort(stable=True).tolist()
    return sorted([unit for unit in order if bool(weak[unit])][:most])
