"""The product of inputs with the live weights of a sparse layer: its cost follows the connections.

A layer's live weights lie in the order of its pattern (by row, then by column), and a `LiveIndex`
says where each of them stands, by rows and by columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from structure_net.core.sparsity import SparsePattern


@dataclass(frozen=True, slots=True, eq=False)
class LiveIndex:
    """Where live weights stand in a matrix ``(outputs, inputs)``, by rows and by columns.

    The tensors must not be written while the index is in use.

    Args:
        offsets: Where each row begins among the weights, and their number at the end. Shape
            ``(outputs + 1,)``, int32, as all that follow.
        columns: The column of each weight, ascending within a row. Shape ``(n,)``.
        column_offsets: Where each column begins among the weights in column order, and their
            number. Shape ``(inputs + 1,)``.
        rows: The row of each weight in column order, ascending within a column. Shape ``(n,)``.
        order: The place in row order of each weight in column order. Shape ``(n,)``.
        shape: The numbers of outputs and of inputs.
    """

    offsets: Tensor
    columns: Tensor
    column_offsets: Tensor
    rows: Tensor
    order: Tensor
    shape: tuple[int, int]

    @classmethod
    def from_pattern(cls, pattern: SparsePattern) -> Self:
        """The index of the weights of ``pattern``, on its device."""
        return cls.from_rows(
            _offsets(pattern.rows, pattern.shape[0]), pattern.columns.int(), pattern.shape
        )

    @classmethod
    def from_rows(cls, offsets: Tensor, columns: Tensor, shape: tuple[int, int]) -> Self:
        """The index whose ``offsets`` and ``columns`` are known: what a layer stores of it."""
        order = torch.argsort(columns, stable=True)
        rows = _rows(offsets, len(columns))[order]
        return cls(offsets, columns, _offsets(columns, shape[1]), rows.int(), order.int(), shape)

    @property
    def pattern(self) -> SparsePattern:
        """The connections, sorted by row and then by column."""
        return SparsePattern(_rows(self.offsets, len(self)), self.columns.long(), self.shape)

    def __len__(self) -> int:
        return len(self.columns)


def sparse_linear(inputs: Tensor, values: Tensor, bias: Tensor | None, index: LiveIndex) -> Tensor:
    r"""The product :math:`x W^T + b` with a matrix whose entries off the index are zero.

    Args:
        inputs: Shape ``(*, in)``.
        values: The live weights, in the order of ``index.columns``. Shape ``(n,)``.
        bias: Shape ``(out,)``, or None.
        index: Where the live weights stand.

    Returns:
        Shape ``(*, out)``.
    """
    lines = inputs.reshape(-1, index.shape[1]).t()
    rows = _rows(index.offsets, len(index))
    products = values[:, None] * lines[index.columns]
    outputs = products.new_zeros(index.shape[0], lines.shape[1]).index_add(0, rows, products)
    if bias is not None:
        outputs = outputs + bias[:, None]
    return outputs.t().reshape(*inputs.shape[:-1], index.shape[0])


def _offsets(units: Tensor, count: int) -> Tensor:
    """Where each of ``count`` units begins in sorted ``units``. Shape ``(count + 1,)``, int32."""
    counts = torch.bincount(units, minlength=count)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)]).int()


def _rows(offsets: Tensor, count: int) -> Tensor:
    """The row of each of ``count`` weights in row order. Shape ``(n,)``, int64."""
    rows = torch.arange(len(offsets) - 1, device=offsets.device)
    return rows.repeat_interleave(offsets.diff(), output_size=count)
