"""Rates by layer: by its depth, and by how large its step is against its weights."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from structure_net.core.arguments import check_positive
from structure_net.evolution.adaptive_learning_rates.rules import Factor, Place, RateRule


def depth_decay(depth: int, layers: int, decay: float) -> float:
    r""":math:`\gamma^{L - 1 - d}`: the last of ``layers`` keeps its rate, those in front lose.

    Args:
        depth: :math:`d`, from 0.
        layers: :math:`L`.
        decay: :math:`\gamma`.

    References:
        Howard and Ruder, "Universal language model fine-tuning", ACL 2018.
    """
    return float(decay ** (layers - 1 - depth))


def trust_ratio(weights: Tensor, step: Tensor, coefficient: float, largest: float) -> float:
    r""":math:`\min(\eta \lVert w \rVert / \lVert u \rVert, r_{\max})`, 1 where a norm is 0.

    Args:
        weights: :math:`w`, any shape.
        step: :math:`u`, what is subtracted at rate 1; the same shape. For SGD without momentum and
            weight decay it is the gradient, and the ratio that of LARS; for AdamW that of LAMB.
        coefficient: :math:`\eta`.
        largest: :math:`r_{\max}`.

    References:
        You et al., "Large batch training of convolutional networks" (LARS), 2017, and "Large batch
        optimization for deep learning" (LAMB), ICLR 2020.
    """
    norm, length = float(torch.linalg.vector_norm(weights)), float(torch.linalg.vector_norm(step))
    if norm == 0 or length == 0:
        return 1.0
    return min(coefficient * norm / length, largest)


class LayerwiseAdaptiveRates(RateRule):
    """A rate of its own for each layer.

    Args:
        decay: A layer's rate over that of the layer behind it (`depth_decay`); 1 for none.
        trust_coefficient: The coefficient of the trust ratio (`trust_ratio`); None for none.
            Parameters with less than two dimensions (biases, gains) are left alone, as LARS does.
        largest_trust: The largest trust ratio.

    Raises:
        TypeError: An argument is no number.
        ValueError: An argument is not positive.
    """

    title: ClassVar[str] = "layer"

    def __init__(
        self,
        decay: float = 1.0,
        *,
        trust_coefficient: float | None = None,
        largest_trust: float = 10.0,
    ) -> None:
        check_positive(decay=decay, largest_trust=largest_trust)
        if trust_coefficient is not None:
            check_positive(trust_coefficient=trust_coefficient)
        self.decay = decay
        self.trust_coefficient = trust_coefficient
        self.largest_trust = largest_trust
        self.reads_step = trust_coefficient is not None

    def local(self, place: Place) -> Factor:
        """Depth decay times trust ratio."""
        factor = depth_decay(place.depth, place.layers, self.decay)
        if self.trust_coefficient is None or place.step is None or not place.matrix:
            return factor
        ratio = trust_ratio(place.parameter, place.step, self.trust_coefficient, self.largest_trust)
        return factor * ratio
