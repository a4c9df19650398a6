"""The units of a sparse layer and the columns of its pattern.

Each input unit has one column, or several (slots) where the single weights of a kernel are
connections: slot by slot, unit after unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from structure_net.core.rearranging import Born
from structure_net.core.sparsity import Pairs
from structure_net.errors import SurgeryError

_SIDES: Final = ("outputs", "inputs")


def followed(source: Sequence[int] | Tensor, sizes: tuple[int, int], dim: int) -> Tensor:
    """An index map of units, checked.

    Args:
        source: For each unit after the edit, the old one that it comes from, or -1.
        sizes: The numbers of output and of input units.
        dim: 0 for outputs, 1 for inputs.

    Returns:
        Shape ``(len(source),)``, int64.

    Raises:
        SurgeryError: No unit would be left, or a source is out of range.
        ValueError: ``dim`` is neither 0 nor 1.
    """
    if dim not in (0, 1):
        raise ValueError(f"dim must be 0 (outputs) or 1 (inputs); got {dim}.")
    index, size, side = torch.as_tensor(source, dtype=torch.int64), sizes[dim], _SIDES[dim]
    if len(index) == 0:
        raise SurgeryError(f"The edit would leave the layer without {side}; keep at least one.")
    if bool(((index < -1) | (index >= size)).any()):
        raise SurgeryError(
            f"A source must be -1 or below the layer's {size} {side}; got {index.tolist()}."
        )
    return index


def columns_of(units: Tensor, slots: int) -> Tensor:
    """The columns of input units, in their order; -1 stays -1.

    Args:
        units: Shape ``(n,)``, int64.
        slots: The columns of each unit.

    Returns:
        Shape ``(n * slots,)``.
    """
    if slots == 1:
        return units
    columns = units[:, None] * slots + torch.arange(slots, device=units.device)
    return columns.masked_fill(units[:, None] < 0, -1).flatten()


def born_of(
    dim: int,
    units: Sequence[int],
    shape: tuple[int, int],
    *,
    slots: int,
    density: float,
    generator: torch.Generator | None,
) -> Born:
    """Connections of new units at ``density``, at least one each.

    Args:
        dim: 0 for output units, 1 for input units.
        units: The new units, ascending, by their numbers after the edit.
        shape: That of the pattern before.
        slots: The columns of each input unit.
        density: Between 0 and 1.
        generator: What they are drawn with; torch's default generator if None.
    """
    width = shape[1] if dim == 0 else shape[0] * slots
    count = round(density * len(units) * width)
    born = Born.along(dim, units, width, count=count, generator=generator)
    if dim == 0 or slots == 1:
        return born
    rows, columns = born.rows // slots, born.columns * slots + born.rows % slots
    order = torch.argsort(rows * (int(columns.max()) + 1) + columns)
    return replace(born, rows=rows[order], columns=columns[order])


def merge_indices(pairs: Pairs, inputs: int) -> tuple[Tensor, Tensor]:
    """Pairs ``(kept, dropped)`` of input units as two index vectors.

    Returns:
        Shape ``(n,)`` each, int64.

    Raises:
        SurgeryError: A unit is out of range, or is in two pairs.
    """
    table = torch.as_tensor(pairs, dtype=torch.int64).reshape(-1, 2)
    units = table.flatten()
    if len(units.unique()) != len(units) or bool(((units < 0) | (units >= inputs)).any()):
        raise SurgeryError(
            f"Units to merge must be below the layer's {inputs} inputs, each in one pair; got "
            f"{table.tolist()}."
        )
    return table[:, 0], table[:, 1]
