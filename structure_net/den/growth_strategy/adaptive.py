"""Growth by loss, gradients and efficiency together."""

from __future__ import annotations

from statistics import fmean, pstdev, pvariance
from typing import Any

from structure_net.core.arguments import check_number, check_whole
from structure_net.den.core import DynamicExpandableNetwork
from structure_net.den.growth_strategy.built_in import BuiltInGrowth, largest
from structure_net.den.growth_strategy.signals import Signals


class AdaptiveGrowth(BuiltInGrowth):
    r"""Grows where the loss stagnates, or where plasticity is needed, on a plateau.

    - Stagnant: :math:`L_{t-P} - L_t < \theta_L` and :math:`\sigma_L < \theta_L`, the standard
      deviation of the last P losses.
    - Plasticity: :math:`\bar g > \theta_g`, or :math:`E_t < 0.8\, \bar E` for the efficiency
      :math:`E_t = 1 / (L_t (1 + n / 1000))` and its mean over the last ``hebbian_window`` epochs
      and this one.

    Depth where :math:`N < 3` or :math:`\mathrm{Var}(n_i) < 0.1\, \mu`:
    :math:`\min(\lfloor \mu \rfloor, n_{max})` units at :math:`\lfloor N / 2 \rfloor`. Else width:
    :math:`\min(\lfloor 0.5\, n_i \rfloor, n_{max})` units for the layer with the largest
    :math:`S_i = \bar g_i / (n_i + 1) \cdot (1 + \alpha_i)`, with :math:`\alpha_i` the mean absolute
    activation (0 where nobody measured it).

    As written, layers of equal size have variance 0, so that depth would be added for ever:
    ``max_layers`` ends it, and width goes on. A layer of one unit gets one.

    Args:
        patience: :math:`P`, epochs to wait for an improvement by more than :math:`\theta_L`.
        cooldown: Epochs to wait after growth.
        loss_threshold: :math:`\theta_L`.
        gradient_threshold: :math:`\theta_g`.
        max_network_size: No growth at so many parameters; None for no limit.
        max_neurons_per_expansion: :math:`n_{max}`, in units.
        hebbian_window: Epochs over which gradients and efficiency are averaged.
        max_layers: No more hidden layers than these.

    Raises:
        TypeError: An argument is no number, or not whole where it counts something.
        ValueError: An argument is out of range.
    """

    def __init__(  # noqa: PLR0913 - the seed's parameters and its bounds
        self,
        patience: int = 15,
        cooldown: int = 10,
        *,
        loss_threshold: float = 1e-4,
        gradient_threshold: float = 0.05,
        max_network_size: int | None = 10_000,
        max_neurons_per_expansion: int = 32,
        hebbian_window: int = 5,
        max_layers: int = 6,
    ) -> None:
        check_number(0, loss_threshold=loss_threshold)
        super().__init__(
            patience=patience,
            cooldown=cooldown,
            min_delta=loss_threshold,
            max_neurons_per_expansion=max_neurons_per_expansion,
            max_network_size=max_network_size,
            max_layers=max_layers,
        )
        check_number(0, gradient_threshold=gradient_threshold)
        check_whole(1, patience=patience, hebbian_window=hebbian_window)
        self.loss_threshold = loss_threshold
        self.gradient_threshold = gradient_threshold
        self.hebbian_window = hebbian_window

    def is_stagnant(self, signals: Signals) -> bool:
        """Whether the loss neither fell nor moved; never before epoch P."""
        losses = signals.losses
        if len(losses) <= self.patience:
            return False
        fell, spread = losses[-1 - self.patience] - losses[-1], pstdev(losses[-self.patience :])
        return fell < self.loss_threshold and spread < self.loss_threshold

    def scores(self, signals: Signals) -> dict[str, float]:
        """:math:`S_i` of each layer."""
        gradients = signals.traced("gradients", self.hebbian_window)
        size = dict(zip(signals.layers, signals.sizes, strict=True))
        loud = signals.now.magnitudes
        return {n: g / (size[n] + 1) * (1 + loud.get(n, 0.0)) for n, g in gradients.items()}

    def _reason(self, signals: Signals) -> str | None:
        if self.is_stagnant(signals):
            return f"loss stagnates at {signals.now.loss:.4g}"
        mean = fmean(signals.traced("gradients", self.hebbian_window).values())
        if mean > self.gradient_threshold:
            return f"gradient norm {mean:.3g} is above {self.gradient_threshold:.3g}"
        return "efficiency declines" if signals.efficiency_declines(self.hebbian_window) else None

    def _action(self, signals: Signals, network: DynamicExpandableNetwork) -> dict[str, Any]:
        alike = pvariance(signals.sizes) < 0.1 * signals.mean_size
        if (len(signals.sizes) < 3 or alike) and self._may_deepen(network):
            return self._deeper(signals)
        layer = largest(self.scores(signals), signals)
        return self._wider(layer, int(signals.sizes[layer] * 0.5))
