"""When a unit is dead, saturated or overactive, from statistics of its activation."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

DEAD_THRESHOLD: Final = 0.01
OVERACTIVE_MULTIPLIER: Final = 2.5
SATURATED_SLOPE: Final = 0.1
DEAD_SLOPE: Final = 0.01

_CENTRED: Final = frozenset(
    (
        "tanh",
        "softsign",
        "hardtanh",
        "identity",
        "tanhshrink",
        "softshrink",
        "hardshrink",
        "lstm",
        "gru",
    )
)


def largest_activation(minimum: Tensor, maximum: Tensor, activation: str | None) -> Tensor:
    """How far a unit gets from silence: what `dead_units` compares with its threshold.

    The largest activation; the largest absolute one behind activations that are centred at 0
    (tanh, softsign, hardtanh, the shrinking ones, the identity, and the states of LSTM and GRU),
    where a unit that is always -1 acts as much as one that is always 1, and is no less alive.

    Args:
        minimum: The smallest activation of each unit. Shape ``(C,)``.
        maximum: The largest. Shape ``(C,)``.
        activation: The activation's name.

    Returns:
        Shape ``(C,)``.
    """
    return torch.maximum(maximum, -minimum) if activation in _CENTRED else maximum


def dead_units(largest: Tensor, threshold: float = DEAD_THRESHOLD) -> Tensor:
    """Units whose largest activation is below ``threshold``.

    Args:
        largest: The largest activation of each unit (`largest_activation`). Shape ``(C,)``.
        threshold: In units of the activation.

    Returns:
        Shape ``(C,)``, bool.
    """
    return largest < threshold


def resting_units(slope: Tensor, least: float = DEAD_SLOPE) -> Tensor:
    """Units behind a smooth rectifier (GELU, SiLU, ELU, softplus, ...) that are dead: whatever they
    take, it falls where the activation is flat.

    Args:
        slope: The mean absolute derivative at what the unit takes. Shape ``(C,)``. Behind ReLU
            this is the firing rate.
        least: Between 0 and 1.

    Returns:
        Shape ``(C,)``, bool.
    """
    return slope < least


def overactive_units(mean: Tensor, multiplier: float = OVERACTIVE_MULTIPLIER) -> Tensor:
    r"""Units whose mean activation is high among their layer's.

    .. math:: m_i > \bar m + c\, s, \qquad \bar m = \tfrac1n \sum_j m_j, \quad
              s^2 = \tfrac1n \sum_j (m_j - \bar m)^2

    No value lies further than :math:`\sqrt{n - 1}` standard deviations from the mean (Samuelson's
    inequality), so that a layer of up to :math:`1 + c^2` units has none.

    Args:
        mean: :math:`m`, the mean activation of each unit. Shape ``(C,)``.
        multiplier: :math:`c`.

    Returns:
        Shape ``(C,)``, bool.

    References:
        Samuelson, "How deviant can you be?", JASA 1968.
    """
    return mean > mean.mean() + multiplier * mean.std(correction=0)


def saturated_units(slope: Tensor, least: float = SATURATED_SLOPE) -> Tensor:
    """Units behind a bounded activation whose mean slope is below ``least``.

    Args:
        slope: The mean derivative, relative to the largest possible, in [0, 1]. Shape ``(C,)``.
        least: Between 0 and 1.

    Returns:
        Shape ``(C,)``, bool.
    """
    return slope < least
