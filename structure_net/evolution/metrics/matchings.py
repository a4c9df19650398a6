"""How far two persistence diagrams are apart: by the cheapest matching of their bars.

Every bar is matched with a bar of the other diagram or with the nearest point of the diagonal, at
the price of their distance in the maximum norm. Bars that never end are matched with each other, by
their births.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from structure_net.evolution.metrics.libraries import gudhi_part
from structure_net.evolution.metrics.validity import Unavailable


def wasserstein_distance(first: Tensor, second: Tensor, order: float = 1.0) -> float | Unavailable:
    r"""The price of the cheapest matching, exactly.

    It is :math:`\min_\gamma (\sum_x \lVert x - \gamma(x) \rVert_\infty^p)^{1/p}`.

    Args:
        first: Births and deaths. Shape ``(n, 2)``.
        second: Shape ``(m, 2)``. Time and memory grow with ``(n + m) ** 2`` and more.
        order: ``p``, at least 1.

    Returns:
        Unavailable if the diagrams differ in the number of bars that never end.

    Raises:
        ValueError: ``order`` is below 1.
    """
    if order < 1:
        raise ValueError(f"order must be at least 1; got {order}.")
    parts = _parts(first, second)
    if isinstance(parts, Unavailable):
        return parts
    from scipy.optimize import linear_sum_assignment

    one, other, births = parts
    prices = _prices(one, other) ** order
    rows, columns = linear_sum_assignment(prices)
    return math.pow(float(prices[rows, columns].sum() + (births**order).sum()), 1 / order)


def bottleneck_distance(first: Tensor, second: Tensor) -> float | Unavailable:
    """The largest price in the matching whose largest price is least, exactly.

    Args:
        first: Births and deaths. Shape ``(n, 2)``.
        second: Shape ``(m, 2)``.

    Returns:
        Unavailable if the diagrams differ in the number of bars that never end.
    """
    parts = _parts(first, second)
    if isinstance(parts, Unavailable):
        return parts
    one, other, births = parts
    # Of gudhi's two implementations this one, after Hera, is free of the GPL; 0 makes it exact.
    exact = gudhi_part("gudhi.hera").bottleneck_distance(one, other, 0.0)
    return max(float(exact), float(births.max(initial=0.0)))


def _parts(first: Tensor, second: Tensor) -> tuple[Any, Any, Any] | Unavailable:
    """The bars that end and have a length, and the prices of those that never end."""
    ended, essential = [], []
    for bars in (first, second):
        values = bars.detach().to("cpu", torch.float64).numpy()
        ends = np.isfinite(values[:, 1])
        ended.append(values[ends & (values[:, 1] > values[:, 0])])
        essential.append(np.sort(values[~ends, 0]))
    if len(essential[0]) != len(essential[1]):
        return Unavailable(
            f"{len(essential[0])} bars of one diagram never end and {len(essential[1])} of the"
            " other, so that they are infinitely far apart"
        )
    return ended[0], ended[1], np.abs(essential[0] - essential[1])


def _prices(one: Any, other: Any) -> Any:
    """Between ``n`` bars and ``m`` places on the diagonal, and ``m`` bars and ``n`` places."""
    count, places = len(one), len(other)
    prices = np.zeros((count + places, count + places))
    prices[:count, :places] = np.abs(one[:, None] - other[None]).max(2)
    prices[:count, places:] = (one[:, 1:] - one[:, :1]) / 2
    prices[count:, :places] = ((other[:, 1] - other[:, 0]) / 2)[None]
    return prices
