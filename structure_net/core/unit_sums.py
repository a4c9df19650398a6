"""Sums and extrema of each unit of an activation, in one pass over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from structure_net.core.sparse_passes import ZEROS
from structure_net.core.unit_kernels import add_sums, sum_rows, sum_runs

SUMS: Final = ("total", "squares", "above", "sizes", "least", "most")
"""What is kept of each unit: the sum, the sum of squares, the number of values above 0, the sum of
magnitudes, the least and the largest value."""

_WAITING: Final = 32
"""Sums on other devices that are noted before they are added up: to add two costs as much as to add
so many."""


class TotalSums:
    """The `SUMS` of all tensors that came by.

    On the processor they are added up at once. Sums that wait would lie between activations, each
    batch of which would have to come to lie elsewhere, in memory that is not in the cache.
    The first stay apart: what is noted of a chain (`noting`) are sums of all that follow, and to be
    the same bits these must be added up by themselves.
    """

    def __init__(self) -> None:
        self._first: Tensor | None = None
        self._total: Tensor | None = None
        self._waiting: list[Tensor] = []

    def add(self, sums: Tensor) -> None:
        """Takes in the sums of one tensor. Shape ``(6, units)``."""
        if not sums.is_cpu or sums.dtype != torch.float64:
            self._waiting.append(sums)
            if len(self._waiting) == _WAITING:
                self._waiting = [merged(self._waiting)]
        elif self._first is None:
            self._first = sums.clone()
        elif self._total is None:
            self._total = sums.clone()
        else:
            sums, units = sums.contiguous(), self._total.shape[1]
            addresses = sums.data_ptr(), self._total.data_ptr()
            add_sums(ZEROS[torch.float64], addresses, units)

    def parts(self) -> tuple[Tensor, Tensor | None]:
        """Of all of them, of which there is at least one, in one or two parts that are not merged.
        Shape ``(6, units)`` each."""
        if self._first is None or self._waiting:
            return self.sums(), None
        return self._first, self._total

    def sums(self) -> Tensor:
        """Of all of them, of which there is at least one. Shape ``(6, units)``."""
        return merged(
            [*self._waiting, *(one for one in (self._first, self._total) if one is not None)]
        )


def unit_sums(values: Tensor) -> Tensor | None:
    """The `SUMS` of each unit.

    Args:
        values: Shape ``(n, units)``, or ``(before, units, after)``.

    Returns:
        Shape ``(6, units)``, float64; None where there is no value, or where they are not of
        float32 or float64 on the CPU, or where neither units nor values of one unit lie side by
        side.
    """
    kind = values.dtype
    if kind not in ZEROS or not values.is_cpu or not values.numel():
        return None
    strides, sizes, zero = values.stride(), values.shape, ZEROS[kind]
    units = sizes[1]
    if values.dim() == 2 and strides[1] == 1 != strides[0]:
        sums = torch.empty(6, units, dtype=torch.float64)
        held = values.new_empty(6 * (units + 15))
        addresses = (values.data_ptr(), sums.data_ptr(), held.data_ptr())
        sum_rows(zero, 0.0, addresses, (sizes[0], units, strides[0]))
        return sums
    shape: tuple[int, int, int]
    if values.dim() == 2 and strides[0] == 1:
        shape, steps = (1, units, sizes[0]), (0, strides[1])
    elif values.dim() == 3 and strides[2] == 1:
        shape, steps = (sizes[0], units, sizes[2]), (strides[0], strides[1])
    else:
        return None
    sums = torch.empty(6, units, dtype=torch.float64)
    sum_runs(zero, 0.0, (values.data_ptr(), sums.data_ptr()), shape, steps, (0, units))
    return sums


def merged(several: Sequence[Tensor]) -> Tensor:
    """The `SUMS` of what several tensors hold together.

    Args:
        several: At least one. Shape ``(6, units)`` each.
    """
    if len(several) == 1:
        return several[0]
    sums = torch.stack(tuple(several))
    extrema = sums[:, 4].amin(0, keepdim=True), sums[:, 5].amax(0, keepdim=True)
    return torch.cat((sums[:, :4].sum(0), *extrema))
