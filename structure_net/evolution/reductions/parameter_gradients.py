"""Moments of each parameter's gradient over batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from structure_net.evolution.reductions.reduction import Reduction, With
from structure_net.evolution.reductions.values import BatchSeen, Gradients


@dataclass(frozen=True, slots=True, eq=False)
class ParameterGradient:
    r"""The gradient of one parameter over the batches seen.

    Args:
        mean: :math:`\sum_b g_b / n` over ``n`` batches. The parameter's shape, on its device, at
            least in float32; so is the next.
        second_moment: :math:`\sum_b g_b^2 / n`.
        batches: ``n``.
        batch_size: Samples in a batch: the harmonic mean, which noise follows.
    """

    mean: Tensor
    second_moment: Tensor
    batches: int
    batch_size: float


class ParameterGradients(Reduction):
    """Running means of each parameter's gradient and of its square."""

    differentiates: ClassVar[frozenset[With]] = frozenset({With.PARAMETERS})

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor, Tensor]] = {}
        self._batches = 0
        self._inverse_sizes = 0.0

    def gradients(self, found: Gradients) -> None:
        """See `Reduction.gradients`."""
        for name, gradient in found.parameters.items():
            wide = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
            if name not in self._sums:
                self._sums[name] = (torch.zeros_like(wide), torch.zeros_like(wide))
            total, square = self._sums[name]
            total += wide
            square.addcmul_(wide, wide)

    def batch(self, seen: BatchSeen) -> None:
        """See `Reduction.batch`."""
        self._batches += 1
        self._inverse_sizes += 1 / max(seen.samples, 1)

    def result(self, readers: Mapping[str, tuple[str, ...]]) -> dict[str, ParameterGradient]:
        """By the parameter's name; those that require no gradient are not there."""
        del readers
        batches = self._batches
        return {
            name: ParameterGradient(
                total / batches, square / batches, batches, batches / self._inverse_sizes
            )
            for name, (total, square) in self._sums.items()
        }
