r"""Where a network is too narrow for what flows through it, and how wide it would have to be.

A layer is narrow by what it passes on compared with what it gets and what is asked of it, not by
itself: early layers span more directions than late ones in a network that is just right. Nor is a
high rank a merit, or a high share of the width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from structure_net.evolution.metrics.ranks import effective_rank, spectrum
from structure_net.evolution.metrics.validity import Unavailable


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """A layer that passes on fewer directions than its neighbours.

    Args:
        layer: Its name.
        effective_rank: ``r``, of its units' activations.
        target_rank: ``t``, the geometric mean of what it gets and what is asked of it.
        units: Its width now.
        width: The width that would lift it (`bottlenecks`), more than ``units``.
    """

    layer: str
    effective_rank: float
    target_rank: float
    units: int
    width: int

    @property
    def pressure(self) -> float:
        """``t / r``, above 1."""
        return self.target_rank / self.effective_rank


def bottlenecks(
    ranks: Mapping[str, float],
    units: Mapping[str, int],
    neighbours: Mapping[str, tuple[float, float]],
) -> tuple[Bottleneck, ...]:
    r"""The layers of `pressures` above 1, the worst first, each with the width that would lift it.

    A layer of effective rank ``r`` uses :math:`r / n` of its ``n`` units as directions; if new
    units are used as well as the old ones, the width that lifts it to ``t`` is

    .. math:: n^* = \lceil n\, t / r \rceil.

    Args:
        ranks: The effective rank of each layer, at least 1.
        units: The width of each layer.
        neighbours: See `pressures`.

    Raises:
        ValueError: A rank is below 1, which no effective rank is.
    """
    found = []
    for layer, pressure in pressures(ranks, neighbours).items():
        if pressure > 1:
            target, width = pressure * ranks[layer], math.ceil(units[layer] * pressure)
            found.append(Bottleneck(layer, ranks[layer], target, units[layer], width))
    return tuple(found)


def pressures(
    ranks: Mapping[str, float], neighbours: Mapping[str, tuple[float, float]]
) -> dict[str, float]:
    r"""By how much each layer lies below its neighbours, :math:`t / r`.

    Between what passes on :math:`r_-` directions and what needs :math:`r_+`, a layer would widen or
    narrow the flow by the same factor on both sides at the geometric mean
    :math:`t = \sqrt{r_- r_+}`. One of effective rank :math:`r < t` is a bottleneck.

    Args:
        ranks: The effective rank of each layer, at least 1.
        neighbours: The effective ranks before and behind a layer. Behind the last hidden layer,
            what the task asks for: the rank of the outputs does not tell, since it falls with what
            they get. Layers left out are not judged.

    Returns:
        The highest first.

    Raises:
        ValueError: A rank is below 1, which no effective rank is.
    """
    if low := {name: rank for name, rank in ranks.items() if not rank >= 1 - 1e-9}:
        raise ValueError(f"Effective ranks are 1 or more; got {low}.")
    found = {
        layer: math.sqrt(before * behind) / ranks[layer]
        for layer, (before, behind) in neighbours.items()
    }
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def task_rank(targets: Tensor) -> float | Unavailable:
    """The directions that a task asks for: the effective rank of its targets, classes as one-hot.

    Args:
        targets: Class indices, shape ``(N,)`` or ``(N, 1)`` of an integer type; or values, shape
            ``(N, D)``, floating-point.

    Returns:
        For balanced classes their number less one; unavailable for targets of other kinds, and
        where they do not vary.
    """
    if not targets.dim() or not targets.numel():
        return Unavailable("there are no targets")
    values = targets.detach().cpu().reshape(len(targets), -1)
    if values.is_floating_point():
        return effective_rank(spectrum(values))
    if values.size(1) > 1 or values.is_complex():
        return Unavailable(f"targets of shape {tuple(targets.shape)} are no class indices")
    return effective_rank(spectrum((values == values.unique()).double()))


def capacity_used(effective_rank: float, units: int) -> float:
    """The share of a layer's units that it uses as directions: effective rank over width.

    Args:
        effective_rank: At least 1.
        units: The layer's width.

    Raises:
        ValueError: ``units`` is not positive.
    """
    if units < 1:
        raise ValueError(f"units must be 1 or more; got {units}.")
    return effective_rank / units
