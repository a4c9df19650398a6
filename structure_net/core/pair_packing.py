"""Pairs of whole numbers packed into about a byte each, as journals hold and store them.

A pair ``(first, second)`` is the number ``first * width + second``. Of the numbers the differences
are kept, from 0 on, as little-endian integers of 4 or 8 bytes: the lowest byte of each of them,
then the next byte of each, and so on, compressed by zlib. Pairs that ascend, as those of edits do,
have small differences, and the upper bytes are zeros.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_LEVEL: Final = 1  # higher ones take longer and save 2 % of the bytes
_LARGEST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class PackedPairs:
    """Pairs as bytes.

    Args:
        count: How many pairs.
        width: One more than the largest second of a pair, 1 or more.
        data: The packed pairs.
    """

    count: int
    width: int
    data: bytes

    @classmethod
    def of(cls, table: NDArray[np.integer[Any]]) -> PackedPairs | None:
        """Packs the rows of ``table``, in their order.

        Args:
            table: Shape ``(n, 2)``, int64.

        Returns:
            The packed pairs; None where a number is negative, or the product of the numbers of
            firsts and seconds is beyond int64.
        """
        if not len(table) or table.min() < 0:
            return None
        most, width = int(table[:, 0].max()), int(table[:, 1].max()) + 1
        if (most + 1) * width > _LARGEST:
            return None
        steps = np.diff(table[:, 0] * width + table[:, 1], prepend=0)
        small = (most + 1) * width <= 2**31
        planes = steps.astype("<i4" if small else "<i8").view(np.uint8).reshape(len(steps), -1).T
        return cls(len(steps), width, zlib.compress(planes.tobytes(), _LEVEL))

    def table(self) -> NDArray[np.int64]:
        """The pairs in their order. Shape ``(2, count)`` transposed, int64.

        Raises:
            ValueError: The bytes are damaged, or hold another number of pairs or a wider one.
        """
        planes = _inflated(self.data, 8 * self.count)
        size, rest = divmod(len(planes), max(1, self.count))
        if size not in (4, 8) or rest or self.width < 1:
            raise ValueError(f"the packed pairs do not hold {self.count} pairs")
        bytes_of = np.frombuffer(planes, np.uint8).reshape(size, self.count).T
        numbers = np.cumsum(np.ascontiguousarray(bytes_of).view(f"<i{size}")[:, 0], dtype=np.int64)
        if numbers.min() < 0:
            raise ValueError("the packed pairs hold a negative number")
        columns = np.empty((2, self.count), np.int64)
        np.divmod(numbers, self.width, out=(columns[0], columns[1]))
        return columns.T


def _inflated(data: bytes, most: int) -> bytes:
    """What zlib compressed, ``most`` bytes at most: a damaged file cannot ask for more."""
    inflater = zlib.decompressobj()
    try:
        found = inflater.decompress(data, max(1, most))
    except zlib.error as error:
        raise ValueError(f"the packed pairs are damaged ({error})") from error
    if not inflater.eof or inflater.unused_data:
        raise ValueError("the packed pairs are cut off, or more than their count says")
    return found
