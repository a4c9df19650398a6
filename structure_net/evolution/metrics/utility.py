"""How much a unit contributes to what reads it, and how many units may be replaced."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor


def contribution_utility(mean_absolute: Tensor, outgoing: Tensor) -> Tensor:
    r"""The contribution utility :math:`\overline{|h_i|} \sum_k |w_{ik}|`.

    Args:
        mean_absolute: The mean absolute activation of each unit. Shape ``(C,)``.
        outgoing: The sum of the magnitudes of its outgoing weights. Shape ``(C,)``.

    Returns:
        Shape ``(C,)``, float64.

    Raises:
        ValueError: The shapes differ.

    References:
        Dohare et al., "Loss of plasticity in deep continual learning", Nature 2024.
    """
    if mean_absolute.shape != outgoing.shape:
        raise ValueError(
            "mean_absolute and outgoing must have one entry per unit; got"
            f" {tuple(mean_absolute.shape)} and {tuple(outgoing.shape)}."
        )
    return mean_absolute.double() * outgoing.double()


def replacements_due(rate: float, mature_steps: Iterable[int], done: int) -> int:
    r"""How many units may be replaced now, :math:`\lfloor \rho \sum_i a_i \rfloor - r`.

    After each step a mature unit adds :math:`\rho` to what may be replaced. Over all units that
    ever lived, :math:`a_i` are the steps that each was mature.

    Args:
        rate: :math:`\rho`, replacements per mature unit and step; in [0, 1].
        mature_steps: :math:`a_i`.
        done: :math:`r`, the replacements so far.

    Returns:
        0 or more.

    Raises:
        ValueError: ``rate`` is out of range.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must be in [0, 1]; got {rate}.")
    # Products such as 1e-4 * 30000 come out a little below the whole number that they are.
    return max(0, int(rate * sum(mature_steps) + 1e-9) - done)
