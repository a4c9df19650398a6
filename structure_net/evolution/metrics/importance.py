r"""What the loss would lose with a unit or a connection, from derivatives.

Removing an entry ``w`` changes the loss by :math:`-w \, \partial L / \partial w + w^2 L''/2 - ...`.
The first term is the Taylor importance, exact where the loss is linear; the second, with the Fisher
information for the second derivative, is the Fisher importance, which is what is left at a minimum.
"""

from __future__ import annotations

from torch import Tensor

from structure_net.evolution.metrics.gradients import sample_variance
from structure_net.evolution.metrics.validity import Unavailable


def taylor_change(values: Tensor, gradient: Tensor) -> Tensor:
    r"""The change of the loss, to first order, where each entry is set to 0: :math:`-w g`.

    Args:
        values: Weights, or what units end up with. Any shape.
        gradient: The loss's gradient there. The same shape.

    Returns:
        The same shape; positive where the loss would rise.

    Raises:
        ValueError: The shapes differ.
    """
    _same_shape(values, gradient)
    return -values * gradient


def taylor_importance(values: Tensor, gradient: Tensor) -> Tensor:
    r"""The size of that change, :math:`|w g|`.

    Raises:
        ValueError: The shapes differ.

    References:
        Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019 (its square
        root).
    """
    return taylor_change(values, gradient).abs()


def fisher_information(
    mean: Tensor, second_moment: Tensor, batches: int, batch_size: float
) -> Tensor | Unavailable:
    r"""The diagonal of the empirical Fisher information, :math:`\mathrm{E}[g_i^2]` over samples.

    The squared mean plus the variance of single samples, which batches of known size tell
    (`sample_variance`).

    Args:
        mean: Mean gradient over batches. Any shape.
        second_moment: Mean of its square over batches.
        batches: How many.
        batch_size: Samples in each.

    Returns:
        The same shape; not valid for a single batch of several samples.
    """
    if batches == 1 and batch_size == 1:
        return mean.square()
    variance = sample_variance(mean, second_moment, batches, batch_size)
    if isinstance(variance, Unavailable):
        return variance
    # The mean itself is noisy: its square is too large by its own variance.
    return (mean.square() - variance / (batches * batch_size)).clamp_min(0) + variance


def fisher_importance(values: Tensor, information: Tensor) -> Tensor:
    r"""The rise of the loss at a minimum where each entry is set to 0: :math:`w^2 F / 2`.

    Args:
        values: Any shape.
        information: `fisher_information`. The same shape.

    Raises:
        ValueError: The shapes differ.

    References:
        LeCun, Denker and Solla, "Optimal Brain Damage", 1990. Theis et al., "Faster gaze prediction
        with dense networks and Fisher pruning", 2018.
    """
    _same_shape(values, information)
    return values.square() * information / 2


def per_unit(importance: Tensor) -> Tensor:
    """The sum over all but the first axis: of a unit's incoming weights. Shape ``(C,)``."""
    return importance.flatten(1).sum(1) if importance.dim() > 1 else importance


def _same_shape(values: Tensor, other: Tensor) -> None:
    if values.shape != other.shape:
        raise ValueError(
            "Values and derivatives must have one shape;"
            f" got {tuple(values.shape)} and {tuple(other.shape)}."
        )
