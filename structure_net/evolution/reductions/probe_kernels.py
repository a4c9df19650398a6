"""What a probe does to each batch, as compiled loops: which rows stay, and where to."""

from __future__ import annotations

from typing import Any, Final

from structure_net.core.compiling import Template, compiled, compiled_by_type
from structure_net.core.simd import longs, numbers

_NEAR: Final = 16
"""Numbers of a row that are copied at once, where those of a column lie together."""


@compiled("int64(float64[::1], int64[:, ::1], int64, float64[::1], int64[:, ::1])")
def keep_least(kept: Any, state: Any, held: int, drawn: Any, found: Any) -> int:
    """Keeps the least of all numbers that came by.

    Args:
        kept: The numbers, each at its place; as many as there is room for. Written.
        state: The places, as a heap with that of the largest number on top, and -1 for each of
            them. Shape ``(2, room)``. Written.
        held: How many places are taken.
        drawn: The numbers of a batch.
        found: Which numbers of the batch stay, by place, and their places. Shape ``(2, numbers)``.
            Written.

    Returns:
        How many of the batch stay.
    """
    heap, owners = state[0], state[1]
    for row in range(len(drawn)):
        number = drawn[row]
        if held < len(kept):
            place, at = held, held
            held += 1
            while at > 0 and kept[heap[(at - 1) // 2]] < number:
                heap[at] = heap[(at - 1) // 2]
                at = (at - 1) // 2
            heap[at] = place
        elif number < kept[heap[0]]:
            place = heap[0]
            _sink(kept, heap, number)
        else:
            continue
        kept[place] = number
        owners[place] = row
    count = 0
    for place in range(held):
        if owners[place] >= 0:
            found[0, count], found[1, count] = owners[place], place
            owners[place] = -1
            count += 1
    return count


@Template
def _sink(kept, heap, number):  # type: ignore[no-untyped-def]  # types of the caller
    """Puts the place on top of a heap where it belongs with a smaller ``number``."""
    place, at = heap[0], 0
    while 2 * at + 1 < len(heap):
        child = 2 * at + 1
        if child + 1 < len(heap) and kept[heap[child + 1]] > kept[heap[child]]:
            child += 1
        if kept[heap[child]] <= number:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = place


@compiled_by_type(
    "void(float32, UniTuple(int64, 4), UniTuple(int64, 2), UniTuple(int64, 4))",
    "void(float64, UniTuple(int64, 4), UniTuple(int64, 2), UniTuple(int64, 4))",
)
def copy_rows(
    zero: Any, tensors: tuple[int, ...], shape: tuple[int, int], steps: tuple[int, ...]
) -> None:
    """Copies some rows of a matrix to some rows of another one.

    Args:
        zero: A number as wide as theirs.
        tensors: The addresses of the matrix that is read, of the one that is written, and of the
            numbers of rows in each, as int64.
        shape: How many rows are copied, and how many numbers are in a row.
        steps: How far rows and numbers lie apart in what is read, and in what is written.
    """
    read, write = numbers(tensors[0], zero), numbers(tensors[1], zero)
    rows, places = longs(tensors[2]), longs(tensors[3])
    count, width = shape
    if steps[1] == 1 and steps[3] == 1:
        for one in range(count):
            start, to = rows[one] * steps[0], places[one] * steps[2]
            for at in range(width):
                write[to + at] = read[start + at]
        return
    for first in range(0, width, _NEAR):
        for one in range(count):
            start, to = rows[one] * steps[0], places[one] * steps[2]
            for at in range(first, min(first + _NEAR, width)):
                write[to + at * steps[3]] = read[start + at * steps[1]]
