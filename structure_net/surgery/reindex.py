"""The one map behind every width edit.

A `Reindex` says where each channel after an edit comes from: an old index, or `NEW`. Growing
appends `NEW`, pruning drops indices, splitting repeats them. Weights, gradients, masks, running
statistics and optimizer moments all follow from the same map.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

NEW: Final = -1
_FEW_RUNS: Final = 64  # more blocks than this are copied faster by an index


@dataclass(frozen=True, slots=True)
class Reindex:
    """A map from ``size`` old channels onto ``len(source)`` new ones.

    Args:
        size: The number of channels before the edit.
        source: For each channel after the edit, the old index it comes from, or `NEW`.

    Raises:
        ValueError: A source is neither `NEW` nor an index below ``size``.
    """

    size: int
    source: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.source:
            return
        least, largest = min(self.source), max(self.source)
        if least < NEW or largest >= self.size:
            wrong = least if least < NEW else largest
            raise ValueError(
                f"A source must be NEW (-1) or below the old size {self.size}; got {wrong}."
            )

    @classmethod
    def identity(cls, size: int) -> Reindex:
        """The map that changes nothing."""
        return cls(size, tuple(range(size)))

    @classmethod
    def grow(cls, size: int, count: int) -> Reindex:
        """``count`` new channels behind the old ones."""
        return cls(size, (*range(size), *[NEW] * count))

    @classmethod
    def drop(cls, size: int, indices: Iterable[int]) -> Reindex:
        """The old channels without ``indices``."""
        gone = set(indices)
        return cls(size, tuple(i for i in range(size) if i not in gone))

    @classmethod
    def split(cls, size: int, indices: Iterable[int]) -> Reindex:
        """The old channels with a copy of each of ``indices`` behind them."""
        return cls(size, (*range(size), *indices))

    @property
    def new_size(self) -> int:
        """The number of channels after the edit."""
        return len(self.source)

    def then(self, after: Reindex) -> Reindex:
        """This map followed by ``after``.

        Raises:
            ValueError: ``after`` does not start from as many channels as this map ends with.
        """
        if after.size != self.new_size:
            raise ValueError(
                f"The second map must start from {self.new_size} channels; "
                f"it starts from {after.size}."
            )
        return Reindex(self.size, tuple(NEW if i == NEW else self.source[i] for i in after.source))

    def copies(self) -> Tensor:
        """How often each channel's origin was kept, 1 for new ones: ``(new_size,)``, float64."""
        count = Counter(self.source)
        return torch.tensor(
            [1.0 if i == NEW else float(count[i]) for i in self.source], dtype=torch.float64
        )

    def index(self) -> Tensor:
        """``source`` as a tensor. Shape ``(new_size,)``, int64."""
        return torch.tensor(self.source, dtype=torch.long)

    def gather(self, tensor: Tensor, dim: int, fill: float = 0.0) -> Tensor:
        """``tensor`` with axis ``dim`` rearranged; new channels hold ``fill``.

        Args:
            tensor: Any shape whose axis ``dim`` has ``size`` entries.
            dim: The axis.
            fill: The value of new entries.

        Returns:
            A new tensor whose axis ``dim`` has ``new_size`` entries.
        """
        runs = _runs(self.source)
        if len(runs) > _FEW_RUNS:
            return self._select(tensor, dim, fill)
        shape = list(tensor.shape)
        shape[dim] = self.new_size
        out = tensor.new_empty(shape)
        start = 0
        for first, length in runs:
            part = out.narrow(dim, start, length)
            if first == NEW:
                part.fill_(fill)
            else:
                part.copy_(tensor.narrow(dim, first, length))
            start += length
        return out

    def _select(self, tensor: Tensor, dim: int, fill: float) -> Tensor:
        """`gather` by an index, which is fast where the map is scattered."""
        index = self.index().to(tensor.device)
        out = tensor.index_select(dim, index.clamp(min=0))
        new = (index == NEW).nonzero().flatten()
        return out.index_fill(dim, new, fill) if len(new) else out


@lru_cache(maxsize=32)
def _runs(source: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """A map as blocks ``(first old index or NEW, length)``, which copy faster than single
    entries.
    """
    if not source:
        return ()
    index = torch.tensor(source)
    new = index == NEW
    follows = torch.where(new[1:], new[:-1], (index[1:] == index[:-1] + 1) & ~new[:-1])
    starts = [0, *(torch.nonzero(~follows).flatten() + 1).tolist()]
    ends = [*starts[1:], len(source)]
    return tuple((source[start], end - start) for start, end in zip(starts, ends, strict=True))
