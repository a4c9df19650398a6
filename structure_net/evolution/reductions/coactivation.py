"""How the units of a layer vary together, with each other and with those of the layers that read
them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from structure_net.evolution.reductions.reduction import Reduction
from structure_net.evolution.reductions.units import final, zeros
from structure_net.evolution.reductions.values import BatchSeen, Values

MOST_UNITS: Final = 4096
"""Layers with more units have no covariances: a matrix of so many squared has no place in memory.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Coactivation:
    """Covariances of one layer; see `LayerObservation`."""

    covariance: Tensor | None = None
    reader_covariance: Mapping[str, Tensor] = field(default_factory=dict)


class Covariances(Reduction):
    """Running second moments of pairs of units, about the means of the first batch."""

    def __init__(self) -> None:
        self._within: dict[str, _Products] = {}
        self._across: dict[tuple[str, str], _Products] = {}
        self._now: dict[str, list[Tensor | None]] = {}

    def units(self, values: Values) -> None:
        """See `Reduction.units`."""
        if values.units > MOST_UNITS:
            return
        rows = values.rows()
        self._within.setdefault(values.layer, _Products()).add(rows, rows)
        self._now.setdefault(values.layer, []).append(values.by_sample())

    def batch(self, seen: BatchSeen) -> None:
        """See `Reduction.batch`."""
        now = {layer: _mean(calls) for layer, calls in self._now.items()}
        self._now.clear()
        for layer, values in now.items():
            for reader in seen.readers.get(layer, ()):
                read = now.get(reader)
                if values is not None and read is not None:
                    self._across.setdefault((reader, layer), _Products()).add(read, values)

    def result(self, readers: Mapping[str, tuple[str, ...]]) -> dict[str, Coactivation]:
        """By layer."""
        return {
            layer: Coactivation(
                self._within[layer].covariance() if layer in self._within else None,
                {
                    reader: self._across[reader, layer].covariance()
                    for reader in names
                    if (reader, layer) in self._across
                },
            )
            for layer, names in readers.items()
        }


class _Products:
    r"""Sums of :math:`(a - a_0)(b - b_0)^\top` with the means of the first batch for :math:`a_0`
    and :math:`b_0`, so that no digits are lost where means are large."""

    def __init__(self) -> None:
        self._count = 0
        self._start: tuple[Tensor, Tensor] | None = None

    def add(self, left: Tensor, right: Tensor) -> None:
        """Shapes ``(n, A)`` and ``(n, B)``."""
        if self._start is None:
            device = left.device
            self._start = (left.mean(0), right.mean(0))
            self._products = zeros(left.size(1), right.size(1), device=device)
            self._left = zeros(left.size(1), device=device)
            self._right = zeros(right.size(1), device=device)
        same = left is right
        left = left - self._start[0]
        right = left if same else right - self._start[1]
        self._count += len(left)
        self._products += left.T @ right
        self._left += left.sum(0)
        self._right += right.sum(0)

    def covariance(self) -> Tensor:
        """Over ``n``, not ``n - 1``. Shape ``(A, B)``, float64 on the CPU."""
        products = self._products - torch.outer(self._left, self._right) / self._count
        return final(products / self._count)


def _mean(calls: list[Tensor | None]) -> Tensor | None:
    known = [call for call in calls if call is not None]
    if len(known) < len(calls):
        return None
    return known[0] if len(known) == 1 else torch.stack(known).mean(0)
