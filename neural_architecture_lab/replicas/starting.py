"""What a replica begins with: its connections and its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from neural_architecture_lab.replicas.plan import ReplicaPlan
from structure_net.core.activations import activation_gain
from structure_net.core.allocation import connection_counts
from structure_net.core.drawing import normal_noise, random_pattern
from structure_net.core.rearranging import scaled_noise
from structure_net.core.sparsity import SparsePattern


@dataclass(frozen=True, slots=True)
class Start:
    """Layers at birth; biases are 0.

    Args:
        patterns: The connections of each layer.
        values: The weights of each layer's connections, in the pattern's order. Float32.
    """

    patterns: tuple[SparsePattern, ...]
    values: tuple[Tensor, ...]

    @property
    def connections(self) -> int:
        """How many there are in all."""
        return sum(len(one) for one in self.values)

    def dense(self, layer: int, dtype: torch.dtype) -> Tensor:
        """The weights of a layer as a matrix, 0 where there is no connection."""
        return scattered(self.patterns[layer], self.values[layer].to(dtype))


def scattered(pattern: SparsePattern, values: Tensor) -> Tensor:
    """A matrix of ``values`` on ``pattern``. Shape ``(outputs, inputs)``."""
    if is_full(pattern):
        return values.view(pattern.shape)
    matrix = values.new_zeros(pattern.shape)
    matrix[pattern.rows, pattern.columns] = values
    return matrix


def is_full(pattern: SparsePattern) -> bool:
    """Whether every output is connected to every input."""
    return len(pattern) == pattern.shape[0] * pattern.shape[1]


def drawn(plan: ReplicaPlan) -> Start:
    """Draws what `structure_net.create_standard_network` draws, number by number.

    Weights come from :math:`N(0, g^2 / f_i)`, with the gain ``g`` of the activation behind, and
    ``f_i`` connections into the unit.
    """
    generator = torch.Generator().manual_seed(plan.seed)
    apart = None
    if plan.pattern_seed is not None:
        apart = torch.Generator().manual_seed(plan.pattern_seed)
    patterns = _patterns(plan, apart or generator)
    for pattern in patterns:  # what layers draw as they are made
        normal_noise((len(pattern),), generator)
    values, last = [], len(patterns) - 1
    for place, pattern in enumerate(patterns):
        noise = normal_noise((len(pattern),), generator)
        gain = activation_gain("identity" if place == last else plan.activation)
        values.append(scaled_noise(noise, pattern.fan_in()[pattern.rows], gain))
    return Start(patterns, tuple(values))


def _patterns(plan: ReplicaPlan, generator: torch.Generator) -> tuple[SparsePattern, ...]:
    if plan.patterns is not None:
        pairs = zip(plan.shapes, plan.patterns, strict=True)
        return tuple(SparsePattern.full(shape) if one is None else one for shape, one in pairs)
    return tuple(
        random_pattern(shape, count, generator)
        for shape, count in zip(plan.shapes, _counts(plan), strict=True)
    )


def _counts(plan: ReplicaPlan) -> Sequence[int]:
    if isinstance(plan.density, Sequence):
        pairs = zip(plan.density, plan.shapes, strict=True)
        return [max(1, round(density * n * m)) for density, (n, m) in pairs]
    return _allocated(plan.shapes, plan.density, plan.allocation)


_allocated = lru_cache(maxsize=64)(connection_counts)
