"""Rows of samples that stay, each at its place: of the samples that drew the least numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from structure_net.evolution.reductions.probe_kernels import copy_rows, keep_least

_WORDS: Final = {4: np.float32(0), 8: np.float64(0)}
"""A number of each width that kernels copy, whatever it means."""


class Least:
    """The least numbers that came by, each at its place.

    Args:
        most: How many there are in the end, at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._numbers = np.empty(0)
        self._state = np.empty((2, 0), np.int64)
        self._order: Tensor | None = None

    def numbers(self) -> npt.NDArray[np.float64]:
        """By place."""
        return self._numbers[: self._held]

    def order(self) -> Tensor:
        """The places by their numbers, the least first. Shape ``(n,)``, int64."""
        if self._order is None:
            self._order = torch.from_numpy(self.numbers().argsort())
        return self._order

    def take(self, drawn: npt.NDArray[np.float64]) -> Moves:
        """Takes in the numbers of a batch."""
        room = min(self._most, self._held + len(drawn))
        if room > len(self._numbers):
            more = min(self._most, 2 * room) - len(self._numbers)
            self._numbers = np.append(self._numbers, np.full(more, np.inf))
            self._state = np.append(self._state, np.full((2, more), -1), axis=1)
        found = torch.empty(2, len(drawn), dtype=torch.int64)
        count = keep_least(self._numbers, self._state, self._held, drawn, found.numpy())
        whole = self._held + len(drawn) <= self._most
        self._held, self._order = room, None
        return Moves(found[0, :count], found[1, :count], room, whole)


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """The rows of a batch that stay, their places, and how many places are taken then.

    Where there is room for all, ``whole``, they stay in their order.
    """

    rows: Tensor
    places: Tensor
    filled: int
    whole: bool


class Rows:
    """A tensor with one row for each sample that stays; it grows with them.

    Each row lies together: few stay of most batches, and each of them takes few lines of the cache
    then.

    Args:
        most: The number of rows in the end, at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._rows: Tensor | None = None

    def put(self, batch: Tensor, moves: Moves) -> None:
        """Takes in the rows of a batch that stay.

        Raises:
            ValueError: The rows are not like those before.
        """
        held = self.room(batch, moves.filled)
        if not _copied(batch, held, moves):
            rows, places = moves.rows.to(batch.device), moves.places.to(batch.device)
            held.index_copy_(0, places, batch.index_select(0, rows))

    def put_rows(self, rows: Tensor, moves: Moves) -> None:
        """`put` of the rows that stay alone."""
        held = self.room(rows, moves.filled)
        held.index_copy_(0, moves.places.to(rows.device), rows)

    def at(self, places: Tensor) -> Tensor:
        """The rows at some places."""
        assert self._rows is not None
        return self._rows.index_select(0, places.to(self._rows.device))

    @property
    def held(self) -> Tensor | None:
        """What is held; None before the first batch."""
        return self._rows

    def room(self, like: Tensor, filled: int) -> Tensor:
        """What is held, with room for ``filled`` rows, which are like those of ``like``.

        Raises:
            ValueError: They are not like those before.
        """
        held = self._rows
        if held is not None:
            if held.shape[1:] != like.shape[1:] or held.dtype != like.dtype:
                raise ValueError(
                    "What a layer gives, or a batch holds, must keep its shape and type during a "
                    f"look; got {tuple(like.shape[1:])}, {like.dtype} for each sample, behind "
                    f"{tuple(held.shape[1:])}, {held.dtype}."
                )
            if held.size(0) >= filled:
                return held
        count = 0 if held is None else held.size(0)
        room, shape = min(2 * max(filled, count), self._most), like.shape[1:]
        more = like.new_empty(room, *shape)
        if held is not None:
            more[:count] = held
        self._rows = more
        return more


def _copied(batch: Tensor, held: Tensor, moves: Moves) -> bool:
    """Copies the rows of a batch that stay, if the kernel can: in a tenth of torch's time."""
    zero = _WORDS.get(batch.element_size())
    if zero is None or type(batch) is not Tensor or not (batch.is_cpu and held.is_cpu):
        return False
    if batch.layout != torch.strided or batch.is_neg() or batch.is_complex():
        return False
    if batch.dim() == 2:
        width, steps = batch.size(1), (*batch.stride(), *held.stride())
    elif batch.is_contiguous():
        width = held[:1].numel()
        steps = width, 1, width, 1
    else:
        return False
    tensors = batch.data_ptr(), held.data_ptr(), moves.rows.data_ptr(), moves.places.data_ptr()
    copy_rows(zero, tensors, (moves.rows.size(0), width), steps)
    return True
