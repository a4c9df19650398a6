"""When a unit is dead, saturated or overactive, from statistics of its activation."""

from __future__ import annotations

from torch import Tensor


def dead_units(largest: Tensor, threshold: float) -> Tensor:
    """Units whose largest activation is below ``threshold``.

    Args:
        largest: The largest activation of each unit. Shape ``(C,)``.
        threshold: In units of the activation.

    Returns:
        Shape ``(C,)``, bool.
    """
    return largest < threshold


def overactive_units(mean: Tensor, multiplier: float) -> Tensor:
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


def saturated_units(slope: Tensor, least: float) -> Tensor:
    """Units behind a bounded activation whose mean slope is below ``least``.

    Args:
        slope: The mean derivative, relative to the largest possible, in [0, 1]. Shape ``(C,)``.
        least: Between 0 and 1.

    Returns:
        Shape ``(C,)``, bool.
    """
    return slope < least
