"""The loss of a task, and element-wise losses that refuse what they would broadcast."""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

from structure_net.den.core import DynamicExpandableNetwork
from structure_net.evolution.batches import Loss

_ELEMENT_WISE: Final = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)


def loss_for(given: Loss | None, network: DynamicExpandableNetwork) -> Loss:
    """The loss to train with: ``given``, or by the network's task.

    Returns:
        The mean squared error for regression, cross-entropy for classification, where none is
        given. Element-wise losses refuse targets of another shape than the outputs'.
    """
    if given is None:
        given = nn.MSELoss() if network.task_type == "regression" else nn.CrossEntropyLoss()
    return _Alike(given) if isinstance(given, _ELEMENT_WISE) else given


class _Alike:
    """An element-wise loss that refuses targets of another shape, which it would broadcast."""

    def __init__(self, loss: Loss) -> None:
        self._loss = loss

    def __call__(self, output: Tensor, targets: Tensor) -> Tensor:
        if output.shape != targets.shape:
            raise ValueError(
                f"Targets must have the outputs' shape, {tuple(output.shape)}; got"
                f" {tuple(targets.shape)}. For one output per sample use targets.unsqueeze(1)."
            )
        return self._loss(output, targets)
