"""Sums and extrema of each unit of an activation, in one pass over it."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from structure_net.core.sparse_compute import ZEROS
from structure_net.core.unit_kernels import sum_rows, sum_runs

SUMS: Final = ("total", "squares", "above", "sizes", "least", "most")
"""What is kept of each unit: the sum, the sum of squares, the number of values above 0, the sum of
magnitudes, the least and the largest value."""


def unit_sums(units: int) -> Tensor:
    """The `SUMS` of no values. Shape ``(6, units)``, float64, on the CPU."""
    sums = torch.zeros(6, units, dtype=torch.float64)
    sums[4], sums[5] = torch.inf, -torch.inf
    return sums


def take_in(values: Tensor, sums: Tensor) -> Tensor | None:
    """Takes values into the sums of their units.

    Args:
        values: Shape ``(n, units)``, or ``(before, units, after)``.
        sums: Written. From `unit_sums`.

    Returns:
        The sums and sums of squares of these values alone, shape ``(2, units)``, float64; None,
        and nothing is written, where there is no value, or where they are not of float32 or
        float64 on the CPU, or where neither units nor values of one unit lie side by side.
    """
    if values.dtype not in ZEROS or not values.is_cpu or not values.numel():
        return None
    strides, sizes = values.stride(), values.shape
    shape: tuple[int, ...]
    own = torch.empty(2, sizes[1], dtype=torch.float64)
    if values.dim() == 2 and strides[1] == 1:
        kernel, steps, shape = sum_rows, (strides[0], 0), (sizes[0], sizes[1], 1)
    elif values.dim() == 2 and strides[0] == 1:
        kernel, steps, shape = sum_runs, (0, strides[1]), (1, sizes[1], sizes[0])
    elif values.dim() == 3 and strides[2] == 1:
        kernel, steps, shape = sum_runs, (strides[0], strides[1]), tuple(sizes)
    else:
        return None
    zero, held = ZEROS[values.dtype], torch.empty(6 * 16, dtype=values.dtype)
    addresses = (sums.data_ptr(), own.data_ptr(), held.data_ptr())
    kernel(zero, 0.0, (values.data_ptr(), *steps), shape, addresses)
    return own
