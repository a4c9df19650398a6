"""Sums over the number of values, for all layers at once: what a look hands out."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from structure_net.evolution.reductions.mean_kernels import ROW, divide_sums

_OUTPUTS: Final = 6
"""Rows of `unit_sums.SUMS`; and behind those that are summed; and of inputs."""
_EXTREMA: Final = 2
_INPUTS: Final = 2


class Summed(NamedTuple):
    """What was summed up of the values of some units.

    Args:
        one: The first two or all of their `unit_sums.SUMS`. Shape ``(rows, units)``, on any device.
        other: The same of other values, if there are more.
        values: How many values of each unit were summed.
    """

    one: Tensor
    other: Tensor | None
    values: int


class Means:
    """Means that are handed out at once, and hold their numbers once `take` was called.

    The outputs and the inputs of one layer each lie in one piece of memory, so that who keeps a
    tensor of them keeps no other layer's.
    """

    def __init__(self) -> None:
        self._table = array("q")
        self._kept: list[Tensor] = []

    def add(self, outputs: Summed, inputs: Summed | None) -> Sequence[Tensor]:
        """The means of one layer's units, then of its inputs.

        Args:
            outputs: All sums.
            inputs: Sums of which the first two are read.

        Returns:
            Of all sums of outputs, then of both of inputs: shape ``(units,)``, float64.
        """
        found = self._list(outputs, _OUTPUTS, _EXTREMA)
        return found if inputs is None else found + self._list(inputs, _INPUTS, 0)

    def take(self) -> int:
        """Computes them; how many units of outputs have a mean that is not finite."""
        address, numbers = self._table.buffer_info()
        broken: int = divide_sums(address, numbers // ROW, 0.0)
        self._kept.clear()
        return broken

    def _list(self, summed: Summed, rows: int, extrema: int) -> list[Tensor]:
        """Lists sums of which so many rows are wanted; what is written, row by row."""
        one = self._read(summed.one)
        other = 0 if summed.other is None else self._read(summed.other)
        units = summed.one.shape[1]
        # Torch takes longer to give memory out, and to part it.
        found = [*map(torch.from_numpy, np.empty((rows, units)))]
        self._kept += found
        write = found[0].data_ptr()
        self._table.extend((one, other, units, rows - extrema, extrema, summed.values, write))
        return found

    def _read(self, sums: Tensor) -> int:
        """Where sums lie, on the processor in float64."""
        if not (sums.is_cpu and sums.dtype == torch.float64 and sums.is_contiguous()):
            sums = sums.to("cpu", torch.float64).contiguous()
        self._kept.append(sums)
        return sums.data_ptr()
