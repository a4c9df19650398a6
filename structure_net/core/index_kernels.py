"""Compiled loops over the places of live weights: their index, by rows and by columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from structure_net.core.compiling import compiled

_Indices = NDArray[np.int32]


@compiled("void(int64[::1], int64, int32[::1], int32[::1], int32[::1], int32[::1], int32[::1])")
def index_places(  # noqa: PLR0913, PLR0917 - the five arrays of an index
    keys: NDArray[np.int64],
    inputs: int,
    offsets: _Indices,
    columns: _Indices,
    column_offsets: _Indices,
    rows: _Indices,
    order: _Indices,
) -> None:
    """Writes where weights stand, as `LiveIndex` describes it.

    Args:
        keys: ``row * inputs + column`` of each weight, ascending. Shape ``(n,)``.
        inputs: The number of input units.
        offsets: Zeros; is written. Shape ``(outputs + 1,)``.
        columns: Is written. Shape ``(n,)``.
        column_offsets: Zeros; is written. Shape ``(inputs + 1,)``.
        rows: Is written. Shape ``(n,)``.
        order: Is written. Shape ``(n,)``.
    """
    for k in range(len(keys)):
        row = keys[k] // inputs
        column = keys[k] - row * inputs
        offsets[row + 1] += 1
        columns[k] = column
        column_offsets[column + 1] += 1
    for row in range(1, len(offsets)):
        offsets[row] += offsets[row - 1]
    for column in range(1, len(column_offsets)):
        column_offsets[column] += column_offsets[column - 1]
    free = column_offsets.copy()
    for row in range(len(offsets) - 1):
        for k in range(offsets[row], offsets[row + 1]):
            place = free[columns[k]]
            free[columns[k]] = place + 1
            rows[place] = row
            order[place] = k


@compiled("void(int32[::1], int32[::1], int64[::1])")
def list_places(offsets: _Indices, columns: _Indices, keys: NDArray[np.int64]) -> None:
    """Writes ``row * inputs + column`` of each weight.

    Args:
        offsets: Where each row begins, and the number of weights. Shape ``(outputs + 1,)``.
        columns: The column of each weight. Shape ``(n,)``.
        keys: Holds the number of inputs in its last entry; is written. Shape ``(n + 1,)``.
    """
    inputs = keys[len(keys) - 1]
    for row in range(len(offsets) - 1):
        for k in range(offsets[row], offsets[row + 1]):
            keys[k] = row * inputs + columns[k]


@compiled("void(int64[::1], int64[::1], int64[::1], int64[::1])")
def merge_places(
    keys: NDArray[np.int64],
    new: NDArray[np.int64],
    whole: NDArray[np.int64],
    place: NDArray[np.int64],
) -> None:
    """Merges two ascending lists.

    Args:
        keys: Shape ``(n,)``.
        new: Shape ``(m,)``; nothing of it is in ``keys``.
        whole: Is written: all entries, ascending. Shape ``(n + m,)``.
        place: Is written: where each stands in ``keys``, or ``n`` plus where in ``new``.
    """
    first: Any = 0
    second: Any = 0
    for k in range(len(whole)):
        if second == len(new) or (first < len(keys) and keys[first] < new[second]):
            whole[k] = keys[first]
            place[k] = first
            first += 1
        else:
            whole[k] = new[second]
            place[k] = len(keys) + second
            second += 1
