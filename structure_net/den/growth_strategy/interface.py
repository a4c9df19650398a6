"""What a growth strategy answers: whether to grow, and how."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from structure_net.den.core import DynamicExpandableNetwork
from structure_net.evolution.interfaces import Component

Metrics = Mapping[str, Any]
Action = Mapping[str, Any]


class GrowthStrategy(Component):
    """Decides when and how a `DynamicExpandableNetwork` grows; asked once after every epoch.

    The metrics of an epoch are plain data:

    - ``loss`` (also ``train_loss``), and where they were measured ``train_accuracy``, ``val_loss``
      and ``val_accuracy``;
    - ``epoch``, from 0 over the life of the network; ``num_parameters``; ``layer_sizes``;
    - ``gradient_norms``: by layer, the norm of the gradient of the layer's weights, averaged over
      the epoch's steps; ``gradient_norm``: their mean over layers;
    - ``activation_magnitudes``: by layer, the mean absolute activation on the epoch's last batch;
    - ``activities``: by layer, see `structure_net.den.measuring.layer_activities`;
    - ``history``: the metrics of all epochs so far, this one last;
    - ``growth_events``: what was done so far, with ``epoch`` and ``type`` (``width``, ``depth`` or
      ``prune``).

    A strategy that only reads these decides the same after a restart.
    """

    @abstractmethod
    def should_grow(
        self, metrics: Metrics, network: DynamicExpandableNetwork, epoch: int
    ) -> tuple[bool, str | None]:
        """Whether to grow now, and why in words.

        Args:
            metrics: See the class.
            network: Read only.
            epoch: The one that is over, from 0.
        """

    @abstractmethod
    def determine_growth_action(
        self, metrics: Metrics, network: DynamicExpandableNetwork
    ) -> Action:
        """How to grow; asked after `should_grow` said yes.

        Returns:
            ``{"type": "width", "layer_idx": i, "num_neurons": n}`` or
            ``{"type": "depth", "position": p, "num_neurons": n}``.
        """

    def should_prune(
        self, metrics: Metrics, network: DynamicExpandableNetwork, epoch: int
    ) -> tuple[bool, str | None]:
        """Whether to prune now, asked before `should_grow`; by default never.

        An epoch after which something is pruned sees no growth.
        """
        del metrics, network, epoch
        return False, None

    def determine_pruning_action(
        self, metrics: Metrics, network: DynamicExpandableNetwork
    ) -> Action:
        """What to prune: ``{"type": "prune", "layer_idx": i, "neuron_indices": [...]}``.

        Raises:
            NotImplementedError: The strategy never prunes.
        """
        raise NotImplementedError(
            f"{type(self).__name__} never prunes. Override determine_pruning_action, or let"
            " should_prune answer False."
        )
