"""Squared weights from what a layer reads to its units: a matrix, or those that exist alone.

A layer that is a matrix keeps one. A sparse layer keeps what its live connections take: everything
here costs as much as there are of them, however many there could be.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from structure_net.core.sparsity import SparseLayer


class Links(ABC):
    """Squared weights of ``shape = (outputs, sources)``; see `MatrixLinks` and `PairLinks`."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """The units of the reader, and what it reads: positions, or units of a layer."""

    @property
    @abstractmethod
    def finite(self) -> bool:
        """Whether all squares are."""

    @abstractmethod
    def gathered(self, units: Tensor, size: int) -> Links:
        """From units instead of positions: the squares of the positions of a unit are summed.

        Args:
            units: The unit of each position, negative for none. Shape ``(sources,)``, int64.
            size: The number of units.
        """

    @abstractmethod
    def pairs(self) -> PairLinks:
        """What exists, one by one."""


@dataclass(frozen=True, slots=True, eq=False)
class MatrixLinks(Links):
    """All of them.

    Args:
        squares: Shape ``(outputs, sources)``, float64.
        live: Which exist. Shape ``(outputs, sources)``, bool.
    """

    squares: Tensor
    live: Tensor

    @classmethod
    def of(cls, squares: Tensor) -> Self:
        """Those that are more than 0 exist."""
        return cls(squares, squares > 0)

    @property
    def shape(self) -> tuple[int, int]:
        """See `Links.shape`."""
        return self.squares.shape[0], self.squares.shape[1]

    @property
    def finite(self) -> bool:
        """See `Links.finite`."""
        return bool(self.squares.isfinite().all())

    def gathered(self, units: Tensor, size: int) -> MatrixLinks:
        """See `Links.gathered`."""
        if _in_order(units, size):
            return self
        chosen = units >= 0
        where, outputs = units[chosen], len(self.squares)
        total = torch.zeros(size, outputs, dtype=torch.float64)
        total.index_add_(0, where, self.squares.T[chosen])
        count = torch.zeros(size, outputs).index_add_(0, where, self.live.T[chosen].float())
        return MatrixLinks(total.T, (count > 0).T)

    def pairs(self) -> PairLinks:
        """See `Links.pairs`."""
        columns, rows = self.live.T.nonzero(as_tuple=True)
        return PairLinks(rows, columns, self.squares[rows, columns], self.shape)


@dataclass(frozen=True, slots=True, eq=False)
class PairLinks(Links):
    """Those that exist.

    Args:
        rows: The reader's unit of each. Shape ``(n,)``, int64, like the next one.
        columns: What it is read from; no pair of both twice.
        squares: Shape ``(n,)``, float64.
        shape: See `Links.shape`.
    """

    rows: Tensor
    columns: Tensor
    squares: Tensor
    shape: tuple[int, int]

    @property
    def finite(self) -> bool:
        """See `Links.finite`."""
        return bool(self.squares.isfinite().all())

    def gathered(self, units: Tensor, size: int) -> PairLinks:
        """See `Links.gathered`."""
        if _in_order(units, size):
            return self
        columns = units[self.columns]
        there = columns >= 0
        found = self.rows[there], columns[there], self.squares[there]
        return _merged(*found, (self.shape[0], size), largest=False)

    def pairs(self) -> PairLinks:
        """See `Links.pairs`."""
        return self


def links_of(layer: SparseLayer) -> PairLinks:
    """The squared weights of a sparse layer, those of a kernel summed, on the CPU.

    Args:
        layer: With ``n`` connections, in any storage.
    """
    pattern, shape = layer.pattern, (layer.out_channels, layer.in_channels)
    rows, columns = pattern.rows.cpu(), layer.sources.cpu()[pattern.columns.cpu()]
    weights = layer.live_weights.detach().to("cpu", torch.float64).square()
    squares = weights.flatten(1).sum(1) if weights.dim() > 1 else weights
    if len(layer.sources) == shape[1]:
        return PairLinks(rows, columns, squares, shape)
    return _merged(rows, columns, squares, shape, largest=False)


def summed(several: Sequence[Links]) -> Links:
    """What a layer reads in several ways at once: the sums of the squares.

    Args:
        several: Of one reader and one layer that it reads, at least one.
    """
    if len(several) == 1:
        return several[0]
    matrices = [one for one in several if isinstance(one, MatrixLinks)]
    if len(matrices) == len(several):
        total = torch.stack([one.squares for one in matrices]).sum(0)
        return MatrixLinks(total, torch.stack([one.live for one in matrices]).any(0))
    return _together(several, largest=False)


def larger(first: Links, second: Links) -> Links:
    """What a layer reads that runs more than once: of both squares the larger one each."""
    if isinstance(first, MatrixLinks) and isinstance(second, MatrixLinks):
        squares = torch.maximum(first.squares, second.squares)
        return MatrixLinks(squares, first.live | second.live)
    return _together([first, second], largest=True)


def _together(several: Sequence[Links], *, largest: bool) -> PairLinks:
    pairs = [one.pairs() for one in several]
    rows, columns, squares = (
        torch.cat([getattr(one, name) for one in pairs]) for name in ("rows", "columns", "squares")
    )
    return _merged(rows, columns, squares, several[0].shape, largest=largest)


def _merged(
    rows: Tensor, columns: Tensor, squares: Tensor, shape: tuple[int, int], *, largest: bool
) -> PairLinks:
    """Each pair once, with the largest of its squares or their sum."""
    keys, place = (rows * shape[1] + columns).unique(return_inverse=True)
    total = torch.zeros(len(keys), dtype=torch.float64)
    if largest:
        total.scatter_reduce_(0, place, squares, "amax")
    else:
        total.index_add_(0, place, squares)
    return PairLinks(keys // shape[1], keys % shape[1], total, shape)


def _in_order(units: Tensor, size: int) -> bool:
    """Whether each position is a unit of its own, the first one the first."""
    return len(units) == size and torch.equal(units, torch.arange(size))
