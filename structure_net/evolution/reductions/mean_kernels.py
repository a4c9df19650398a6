"""The means of all units of a network from their sums, as one compiled loop."""

from __future__ import annotations

from math import isfinite
from typing import Final

from structure_net.core.compiling import Template, compiled
from structure_net.core.simd import longs, numbers

ROW: Final = 7
"""Numbers that say what one part is; see `divide_sums`."""


@compiled("int64(int64, int64, float64)")
def divide_sums(table: int, parts: int, zero: float) -> int:
    """Adds up the sums of two tensors, and divides them by how many values were summed.

    Callers answer for addresses and sizes: nothing is checked here.

    Args:
        table: The address of what each part is, ``(parts, ROW)`` int64: the addresses of two
            ``(summed + extrema, units)`` float64, of which the second may be 0; ``units``;
            ``summed``; ``extrema``, 2 where the least and the largest values follow, else 0; the
            number of values; the address of what is written, as large as each of the two.
        parts: How many there are.
        zero: Of float64.

    Returns:
        How many of the first means, ``(units,)``, of parts with extrema are not finite.
    """
    rows, broken = longs(table), 0
    for part in range(parts):
        at = part * ROW
        one, found = numbers(rows[at], zero), numbers(rows[at + 6], zero)
        units = rows[at + 2]
        summed, held = units * rows[at + 3], units * (rows[at + 3] + rows[at + 4])
        for place in range(held):
            found[place] = one[place]
        if rows[at + 1]:
            _take_in(numbers(rows[at + 1], zero), found, summed, held, units)
        for place in range(summed):
            found[place] /= float(rows[at + 5])
        if summed < held:
            for unit in range(units):
                broken += not isfinite(found[unit])
    return broken


@Template
def _take_in(other, found, summed, held, units):  # type: ignore[no-untyped-def]  # types of the caller
    """Takes sums and extrema into others."""
    for place in range(summed):
        found[place] += other[place]
    if summed < held:
        for place in range(summed, summed + units):
            found[place] = min(found[place], other[place])
        for place in range(summed + units, held):
            found[place] = max(found[place], other[place])
