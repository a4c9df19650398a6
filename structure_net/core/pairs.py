"""Many pairs of whole numbers, which need not be read one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Self, SupportsIndex, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from structure_net.core.pair_packing import PackedPairs

Pair = tuple[int, int]

_LARGEST: Final = 2**63 - 1


class PairTuple(tuple[Pair, ...]):
    """A tuple of pairs of whole numbers that also knows them as a table.

    It compares, prints and is stored as the plain tuple that it is.

    Attributes:
        table: Shape ``(n, 2)``, int64, read-only.
    """

    table: NDArray[np.int64]

    @classmethod
    def of(cls, table: NDArray[np.integer[Any]]) -> Self:
        """The pairs in the rows of ``table``.

        Args:
            table: Shape ``(n, 2)``, whole numbers.

        Raises:
            TypeError: Its numbers are no whole ones.
            ValueError: It has another shape, or numbers beyond int64.
        """
        held = _held(table)
        made = cls(_plain(held))
        made.table = held
        return made

    def __reduce__(self) -> tuple[type[tuple[Any, ...]], tuple[list[Pair]]]:
        return tuple, (list(self),)


if TYPE_CHECKING:  # to whoever writes types it is the tuple that it stands for
    _Pairs = tuple[Pair, ...]
else:
    _Pairs = Sequence


class PairTable(_Pairs):
    """Pairs of whole numbers that become a tuple of tuples when they are first read one by one.

    It compares, hashes, prints and is stored as that tuple, and copies are plain tuples where it is
    not `packed`. It is none itself, so that `json.dumps`, which reads tuples past Python, refuses
    it: give it ``tuple(pairs)``, or of a whole edit what
    `structure_net.surgery.records.edit_to_data` makes.

    Pairs that are only kept, as those in a journal, are held `packed`, in about a byte each, and
    are unpacked anew each time that they are read.
    """

    __slots__ = ("_packed", "_table", "_tuple")

    _packed: PackedPairs | None
    _table: NDArray[np.int64] | None
    _tuple: tuple[Pair, ...] | None

    @classmethod
    def of(cls, table: NDArray[np.integer[Any]]) -> Self:
        """The pairs in the rows of ``table``.

        Args:
            table: Shape ``(n, 2)``, whole numbers.

        Raises:
            TypeError: Its numbers are no whole ones.
            ValueError: It has another shape, or numbers beyond int64.
        """
        made = cls()
        made._table, made._tuple, made._packed = _held(table), None, None
        return made

    @classmethod
    def unpacked_from(cls, packed: PackedPairs) -> Self:
        """The pairs that were packed."""
        made = cls()
        made._table, made._tuple, made._packed = None, None, packed
        return made

    @property
    def table(self) -> NDArray[np.int64]:
        """Shape ``(n, 2)``, int64, read-only."""
        held = self._table  # read once: another thread may pack the pairs meanwhile
        if held is not None:
            return held
        assert self._packed is not None, "pairs are held as a table or packed"
        table = self._packed.table()
        table.flags.writeable = False
        return table

    @property
    def packed(self) -> PackedPairs | None:
        """The packed pairs; None where they are held as they are."""
        return self._packed

    def pack(self) -> None:
        """Holds the pairs packed from now on, if they can be; they stay the same pairs."""
        if self._table is not None:
            self._packed = PackedPairs.of(self._table)
        if self._packed is not None:
            self._table = self._tuple = None

    def _read(self) -> tuple[Pair, ...]:
        known = self._tuple  # read once, as the table
        if known is not None:
            return known
        pairs = _plain(self.table)
        if self._packed is None:
            self._tuple = pairs
        return pairs

    def __len__(self) -> int:
        packed = self._packed  # read once, as the table
        return len(self.table) if packed is None else packed.count

    @overload
    def __getitem__(self, place: SupportsIndex) -> Pair: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Pair, ...]: ...

    def __getitem__(self, place: Any) -> Any:
        pairs = self._read()
        self._tuple = pairs  # kept even where packed: who asks for one asks for the next
        return pairs[place]

    def __iter__(self) -> Iterator[Pair]:
        return iter(self._read())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PairTable):
            if self._packed is not None and self._packed == other._packed:
                return True
            return np.array_equal(self.table, other.table)
        if not isinstance(other, tuple):
            return NotImplemented
        return len(self) == len(other) and self._read() == other

    def __hash__(self) -> int:
        return hash(self._read())

    def __repr__(self) -> str:
        return repr(self._read())

    def __add__(self, other: Any) -> Any:
        return self._read() + tuple(other)

    def __radd__(self, other: Any) -> Any:
        return tuple(other) + self._read()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.table, dtype=dtype)

    def __copy__(self) -> tuple[Pair, ...]:
        return self if self._packed is not None else self._read()

    def __deepcopy__(self, memo: dict[int, object]) -> tuple[Pair, ...]:
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._packed is not None:
            return type(self).unpacked_from, (self._packed,)
        return tuple, (list(self._read()),)


def columns_of_pairs(pairs: Sequence[Pair] | Tensor) -> tuple[Tensor, Tensor]:
    """The first and the second of each pair, unchecked. Shape ``(n,)`` each, int64.

    Raises:
        ValueError: ``pairs`` is no list of pairs.
    """
    if isinstance(pairs, PairTuple | PairTable):
        rows, columns = torch.tensor(pairs.table.T)
        return rows, columns
    table = torch.as_tensor(pairs, dtype=torch.int64)
    if table.numel() == 0:
        table = table.reshape(0, 2)
    if table.dim() != 2 or table.shape[1] != 2:
        raise ValueError(
            f"pairs must be (output unit, input unit) pairs; got shape {tuple(table.shape)}."
        )
    return table[:, 0].contiguous(), table[:, 1].contiguous()


def _held(table: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """The same column by column, read-only."""
    if table.dtype.kind not in "iu":
        raise TypeError(
            f"A table of pairs must hold whole numbers; got {table.dtype}. Round the numbers first:"
            " np.rint(table).astype(np.int64)."
        )
    if table.ndim != 2 or table.shape[1] != 2:
        raise ValueError(
            f"A table of pairs must have the shape (n, 2), a pair a row; got {table.shape}."
        )
    if table.dtype == np.uint64 and table.size and table.max() > _LARGEST:
        raise ValueError(f"A table of pairs must hold numbers up to {_LARGEST}; got {table.max()}.")
    columns = np.array(table.T, dtype=np.int64, order="C")
    columns.flags.writeable = False
    return columns.T


def _plain(table: NDArray[np.int64]) -> tuple[Pair, ...]:
    return tuple(zip(table[:, 0].tolist(), table[:, 1].tolist(), strict=True))
