"""Which unit of a group each entry of an axis belongs to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from structure_net.graph.channels import Axis


def entries_of(axis: Axis, units: int, chosen: Sequence[int]) -> list[list[int]]:
    """The entries along an axis that belong to some units: those that a map without one lacks.

    Args:
        axis: Of a group.
        units: How many units the group has.
        chosen: Some of them.

    Returns:
        For each of ``chosen`` its entries, ascending.
    """
    unit = units_along(axis, units)
    if unit is None:
        return [_lacking(axis, units, one) for one in chosen]
    order = torch.argsort(unit, stable=True)
    starts = torch.searchsorted(unit[order], torch.arange(units + 1)).tolist()
    entries = order.tolist()
    return [entries[starts[one] : starts[one + 1]] for one in chosen]


def _lacking(axis: Axis, units: int, unit: int) -> list[int]:
    without = axis.lift([-1 if place == unit else place for place in range(units)])
    return [place for place, origin in enumerate(without) if origin < 0]


def units_along(axis: Axis, units: int) -> Tensor | None:
    """The unit of each entry of an axis, or -1 for entries of none.

    Found by maps that leave out half of the units each: which of them lack an entry is its unit's
    number in binary. So the cost is that of ``log2(units)`` maps, not of one for each unit.

    Args:
        axis: Of a group.
        units: How many units the group has.

    Returns:
        Shape ``(entries,)``, int64, on the CPU; None where an entry belongs to several units.
    """
    numbers = np.arange(units)
    found = np.zeros(len(axis.lift(numbers.tolist())), dtype=np.int64)
    known = np.zeros(len(found), dtype=np.bool_)
    for bit in range(max(1, (units - 1).bit_length())):
        there = (numbers >> bit & 1).astype(np.bool_)
        ones, zeros = (
            np.asarray(axis.lift(np.where(half, -1, numbers).tolist())) < 0
            for half in (there, ~there)
        )
        if bool((ones & zeros).any()):
            return None
        found |= ones.astype(np.int64) << bit
        known |= ones | zeros
    return torch.from_numpy(np.where(known, found, -1))
