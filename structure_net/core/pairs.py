"""Many pairs of whole numbers, which need not be read one by one."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


class PairTuple(tuple[tuple[int, int], ...]):
    """A tuple of pairs of whole numbers that also knows them as a table.

    It compares, prints and is stored as the plain tuple that it is.

    Attributes:
        table: Shape ``(n, 2)``, int64, read-only.
    """

    table: NDArray[np.int64]

    @classmethod
    def of(cls, table: NDArray[np.integer[Any]]) -> Self:
        """The pairs in the rows of ``table``, shape ``(n, 2)``."""
        columns = np.ascontiguousarray(table.T, dtype=np.int64)
        made = cls(zip(columns[0].tolist(), columns[1].tolist(), strict=True))
        made.table = columns.T
        made.table.flags.writeable = False
        return made

    def __reduce__(self) -> tuple[type[tuple[Any, ...]], tuple[list[tuple[int, int]]]]:
        return tuple, (list(self),)
