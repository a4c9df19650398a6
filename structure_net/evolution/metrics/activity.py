r"""The activity of units as the DEN library's biological growth defines it: by their weights.

An activity is the sum of a unit's incoming weights, an importance the norm of its outgoing ones;
both are taken relative to the layer's largest. What grows is the active and the small layer
(`growth_score`), what is pruned is weak.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from structure_net.evolution.metrics.validity import Unavailable


def weight_activity(weight: Tensor, bias: Tensor | None = None) -> Tensor:
    r""":math:`A_i = \sum_j |w_{ij}| + |b_i|`, the firing rate's stand-in.

    Args:
        weight: From unit ``j`` to unit ``i``; shape ``(C, inputs, ...)``, kernels are summed over.
        bias: Shape ``(C,)``.

    Returns:
        Shape ``(C,)``, float64.
    """
    total: Tensor = weight.detach().double().flatten(1).abs().sum(1)
    return total if bias is None else total + bias.detach().double().abs()


def outgoing_importance(outgoing: Tensor, bias: Tensor | None = None) -> Tensor:
    r""":math:`I_j = \lVert w_{\cdot j} \rVert_2 + |b_j|`.

    Args:
        outgoing: The reader's weights, shape ``(D, C, ...)``; kernels are part of the norm.
        bias: Of the units themselves, shape ``(C,)``.

    Returns:
        Shape ``(C,)``, float64.
    """
    norms: Tensor = outgoing.detach().double().transpose(0, 1).flatten(1).norm(dim=1)
    return norms if bias is None else norms + bias.detach().double().abs()


def relative(values: Tensor) -> Tensor | Unavailable:
    r""":math:`\hat a_i = a_i / \max_j a_j`.

    Args:
        values: Of the units of one layer, non-negative. Shape ``(C,)``.

    Returns:
        Shape ``(C,)``, in [0, 1]; unavailable where all are 0.
    """
    largest = float(values.max())
    if not largest > 0:
        return Unavailable("all units of the layer have weight 0, so that none is the largest")
    return values / largest


def activity_trace(history: Sequence[float], window: int) -> float:
    r"""The mean of the last ``window`` values, :math:`\tfrac1k \sum_{\tau > t - k}^{t} a(\tau)`.

    Of all values where there are fewer. (The DEN library writes the sum from :math:`t - k`, which
    has one term more than its divisor.)

    Args:
        history: Oldest first.
        window: ``k``.

    Raises:
        ValueError: ``window`` is not positive, or there is no value.
    """
    if window < 1 or not history:
        raise ValueError(
            f"A trace takes a window of 1 or more and a value; got {window} and {len(history)}."
        )
    recent = list(history)[-window:]
    return sum(recent) / len(recent)


def weak_units(importance: Tensor, threshold: float) -> Tensor:
    r"""Units with :math:`\hat\imath_j < \theta`.

    The share of them in a layer is what "use it or lose it" looks at: above a fifth, it prunes.

    Args:
        importance: Relative (`relative`), shape ``(C,)``.
        threshold: :math:`\theta`, in [0, 1].

    Returns:
        Shape ``(C,)``, bool.
    """
    return importance < threshold


def growth_score(activity: float, units: int) -> float:
    r""":math:`S_i = 2 \bar A_i + 1 / (n_i + 1)`: resources go to active and to small layers.

    Args:
        activity: :math:`\bar A_i` of the layer, in [0, 1].
        units: :math:`n_i`, the layer's width.
    """
    return 2 * activity + 1 / (units + 1)


def metabolic_cost(parameters: int, weight: float) -> float:
    """The energy that a network takes, ``parameters ** 1.2 * weight``."""
    return float(parameters**1.2 * weight)


def parameter_efficiency(loss: float, parameters: int) -> float | Unavailable:
    r""":math:`\eta = 1 / (L\,(1 + n / 1000))`, performance per parameter.

    Args:
        loss: ``L``.
        parameters: ``n``.

    Returns:
        Unavailable for a loss that is not positive.
    """
    if not loss > 0:
        return Unavailable(f"efficiency is one over the loss, which is {loss}")
    return 1 / (loss * (1 + parameters / 1000))
