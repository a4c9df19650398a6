"""Growth where the loss stalls."""

from __future__ import annotations

from typing import Any

from structure_net.core.arguments import check_number, check_whole
from structure_net.den.core import DynamicExpandableNetwork
from structure_net.den.growth_strategy.built_in import BuiltInGrowth
from structure_net.den.growth_strategy.signals import Signals


class LossBasedGrowth(BuiltInGrowth):
    r"""Grows on a plateau: the smallest layer in width, or the network in depth.

    Width: :math:`n_{new} = \min(\lfloor r\, n_i \rfloor, n_{max})` units for the layer
    :math:`i^* = \arg\min n_i`. After every ``depth_threshold`` width expansions the next growth is
    a layer of :math:`\min(\lfloor \mu \rfloor, n_{max})` units at :math:`\lfloor N / 2 \rfloor`, N
    and :math:`\mu` being the number and the mean size of the hidden layers.

    As written, a layer so small that :math:`\lfloor r\, n_i \rfloor = 0` would never grow; it gets
    one unit. Depth ends at ``max_layers``, and width goes on.

    Args:
        patience: :math:`P`, epochs to wait for an improvement.
        cooldown: :math:`C`, epochs to wait after growth.
        min_delta: :math:`\delta`, what counts as an improvement.
        width_growth_ratio: :math:`r`.
        max_neurons_per_expansion: :math:`n_{max}`.
        depth_threshold: Width expansions before a layer is added.
        max_network_size: No growth at so many parameters; None for no limit.
        max_layers: No more hidden layers than these.

    Raises:
        TypeError: An argument is no number, or not whole where it counts something.
        ValueError: An argument is out of range.
    """

    def __init__(  # noqa: PLR0913 - the seed's parameters and its bounds
        self,
        patience: int = 15,
        cooldown: int = 5,
        *,
        min_delta: float = 1e-4,
        width_growth_ratio: float = 0.5,
        max_neurons_per_expansion: int = 32,
        depth_threshold: int = 3,
        max_network_size: int | None = None,
        max_layers: int = 10,
    ) -> None:
        super().__init__(
            patience=patience,
            cooldown=cooldown,
            min_delta=min_delta,
            max_neurons_per_expansion=max_neurons_per_expansion,
            max_network_size=max_network_size,
            max_layers=max_layers,
        )
        check_number(0, width_growth_ratio=width_growth_ratio)
        check_whole(1, depth_threshold=depth_threshold)
        self.width_growth_ratio = width_growth_ratio
        self.depth_threshold = depth_threshold

    def _reason(self, signals: Signals) -> str:
        return self._plateau(signals)

    def _action(self, signals: Signals, network: DynamicExpandableNetwork) -> dict[str, Any]:
        if signals.widths_since_depth() >= self.depth_threshold and self._may_deepen(network):
            return self._deeper(signals)
        smallest = signals.sizes.index(min(signals.sizes))
        return self._wider(smallest, int(signals.sizes[smallest] * self.width_growth_ratio))
