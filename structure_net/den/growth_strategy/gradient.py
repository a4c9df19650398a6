"""Growth where the loss stalls although gradients are large."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from structure_net.core.arguments import check_number, check_whole
from structure_net.den.core import DynamicExpandableNetwork
from structure_net.den.growth_strategy.built_in import BuiltInGrowth, largest
from structure_net.den.growth_strategy.signals import Signals


class GradientBasedGrowth(BuiltInGrowth):
    r"""Widens the layer that struggles most, where gradients stay large on a plateau.

    :math:`g_i = \lVert \nabla_{W_i} L \rVert_2` of each epoch, :math:`\bar g_i` its mean over the
    last ``hebbian_window`` epochs, :math:`\bar g` the mean over layers. Growth needs
    :math:`\bar g > \theta_g` and :math:`p_t \ge P`; the layer :math:`\arg\max \bar g_i` gets
    :math:`\min(\max(\lfloor 0.3\, n_i \rfloor, 1), n_{max})` units.

    Args:
        patience: :math:`P`, epochs to wait for an improvement.
        cooldown: Epochs to wait after growth.
        gradient_threshold: :math:`\theta_g`.
        min_delta: What counts as an improvement of the loss.
        hebbian_window: Epochs over which gradients are averaged.
        max_neurons_per_expansion: :math:`n_{max}`.
        max_network_size: No growth at so many parameters; None for no limit.

    Raises:
        TypeError: An argument is no number, or not whole where it counts something.
        ValueError: An argument is out of range.
    """

    def __init__(  # noqa: PLR0913 - the seed's parameters and its bounds
        self,
        patience: int = 10,
        cooldown: int = 5,
        *,
        gradient_threshold: float = 0.1,
        min_delta: float = 1e-4,
        hebbian_window: int = 5,
        max_neurons_per_expansion: int = 32,
        max_network_size: int | None = None,
    ) -> None:
        super().__init__(
            patience=patience,
            cooldown=cooldown,
            min_delta=min_delta,
            max_neurons_per_expansion=max_neurons_per_expansion,
            max_network_size=max_network_size,
            max_layers=0,
        )
        check_number(0, gradient_threshold=gradient_threshold)
        check_whole(1, hebbian_window=hebbian_window)
        self.gradient_threshold = gradient_threshold
        self.hebbian_window = hebbian_window

    def _reason(self, signals: Signals) -> str | None:
        mean = fmean(signals.traced("gradients", self.hebbian_window).values())
        if not mean > self.gradient_threshold:
            return None
        large = f"gradient norm {mean:.3g} is above {self.gradient_threshold:.3g}"
        return f"{large}, and {self._plateau(signals)}"

    def _action(self, signals: Signals, network: DynamicExpandableNetwork) -> dict[str, Any]:
        del network
        layer = largest(signals.traced("gradients", self.hebbian_window), signals)
        return self._wider(layer, int(signals.sizes[layer] * 0.3))
