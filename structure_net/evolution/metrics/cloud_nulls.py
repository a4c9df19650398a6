"""What a cloud of activations looks like by chance: its longest bars where units are independent.

A persistence diagram always has bars, also of a cloud without shape. Those that are longer than any
bar of the same cloud with each unit's values shuffled over the samples say something about how the
units act together; the others could be those of units that know nothing of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from structure_net.evolution.metrics.clouds import (
    PersistenceDiagrams,
    euclidean_distances,
    persistence_diagrams,
)
from structure_net.evolution.metrics.validity import Unavailable

Diagrams = PersistenceDiagrams | Unavailable


@dataclass(frozen=True, slots=True, eq=False)
class CloudNull:
    """The longest bars of a cloud whose units were made independent.

    Args:
        longest: By dimension, the length of the longest bar that ends, 0 where none does, of each
            shuffled cloud. Shape ``(samples,)`` each, float64, in units of the distance.
    """

    longest: Mapping[int, Tensor]

    def bound(self, dimension: int, level: float = 0.95) -> float:
        """The length that no bar of a share ``level`` of the shuffled clouds exceeds.

        Raises:
            ValueError: ``level`` is not in [0, 1].
        """
        if not 0 <= level <= 1:
            raise ValueError(f"level must be in [0, 1]; got {level}.")
        return float(torch.quantile(self.longest[dimension], level, interpolation="higher"))


def shuffled_clouds(
    points: Tensor,
    *,
    samples: int = 20,
    seed: int = 0,
    diagrams: Callable[[Tensor], Diagrams] | None = None,
) -> CloudNull | Unavailable:
    """The longest bars of clouds in which each unit's values are permuted over the points.

    Every unit keeps its distribution; what is lost is how units act together.

    Args:
        points: Shape ``(n, units)``.
        samples: How many clouds are drawn.
        seed: What the permutations follow from.
        diagrams: From a cloud to its diagrams; Euclidean, up to loops, if None.

    Returns:
        Unavailable for the reason for which a shuffled cloud has no diagrams.

    Raises:
        ValueError: ``samples`` is below 2.
    """
    if samples < 2:
        raise ValueError(f"samples must be 2 or more; got {samples}.")
    measure = partial(_euclidean, dimension=1) if diagrams is None else diagrams
    values = points.detach().to("cpu", torch.float64)
    generator = torch.Generator().manual_seed(seed)
    found: list[PersistenceDiagrams] = []
    for _ in range(samples):
        order = torch.rand(values.shape, generator=generator, dtype=torch.float64).argsort(0)
        one = measure(values.gather(0, order))
        if isinstance(one, Unavailable):
            return one
        found.append(one)
    return CloudNull(
        {k: torch.stack([_longest(one.finite(k)) for one in found]) for k in found[0].pairs}
    )


def _euclidean(points: Tensor, *, dimension: int) -> Diagrams:
    return persistence_diagrams(euclidean_distances(points), dimension=dimension)


def _longest(bars: Tensor) -> Tensor:
    lengths = bars[:, 1] - bars[:, 0]
    return lengths.max() if len(lengths) else torch.zeros((), dtype=torch.float64)
