"""How the units of a layer vary together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from structure_net.evolution.reductions.reduction import Reduction
from structure_net.evolution.reductions.units import final, zeros
from structure_net.evolution.reductions.values import Values

MOST_UNITS: Final = 4096
"""Layers with more units have no covariances: a matrix of so many squared has no place in memory.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Coactivation:
    """Covariances of one layer; see `LayerObservation`."""

    covariance: Tensor | None = None


class Covariances(Reduction):
    """Running second moments of pairs of units, about the means of the first batch."""

    def __init__(self) -> None:
        self._within: dict[str, _Products] = {}

    def units(self, values: Values) -> None:
        """See `Reduction.units`."""
        if values.units <= MOST_UNITS:
            self._within.setdefault(values.layer, _Products()).add(values.rows())

    def result(self, readers: Mapping[str, tuple[str, ...]]) -> dict[str, Coactivation]:
        """By layer."""
        return {
            layer: Coactivation(self._within[layer].covariance() if layer in self._within else None)
            for layer in readers
        }


class _Products:
    r"""Sums of :math:`(a - a_0)(a - a_0)^\top` with the means of the first batch for :math:`a_0`,
    so that no digits are lost where means are large."""

    def __init__(self) -> None:
        self._count = 0
        self._start: Tensor | None = None

    def add(self, rows: Tensor) -> None:
        """Shape ``(n, A)``."""
        if self._start is None:
            self._start = rows.mean(0)
            self._products = zeros(rows.size(1), rows.size(1), device=rows.device)
            self._total = zeros(rows.size(1), device=rows.device)
        rows = rows - self._start
        self._count += len(rows)
        self._products += rows.T @ rows
        self._total += rows.sum(0)

    def covariance(self) -> Tensor:
        """Over ``n``, not ``n - 1``. Shape ``(A, A)``, float64 on the CPU."""
        products = self._products - torch.outer(self._total, self._total) / self._count
        return final(products / self._count)
