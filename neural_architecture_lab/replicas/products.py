"""Products of small matrices in kernels, and the passes between them.

Matrices lie row by row. One product serves a layer's three: its outputs, what they leave to its
inputs, and its weights' gradient; only where a factor stands differs. Tiles are four rows high and
one line or four wide, and their sums stay in registers. Every sum runs in one order, whatever the
tile: results do not depend on the machine's registers.
"""

from __future__ import annotations

from typing import Any

from structure_net.core.compiling import Template, compiled_by_type
from structure_net.core.simd import (
    add_product,
    filled,
    given,
    lanes,
    load,
    load_some,
    numbers,
    splat1,
    splat4,
    store,
    store_some,
)


@compiled_by_type(
    "void(float32, UniTuple(int64, 4), UniTuple(int64, 2), int64, UniTuple(int64, 3))",
    "void(float64, UniTuple(int64, 4), UniTuple(int64, 2), int64, UniTuple(int64, 3))",
)
def multiply_dense(zero: Any, tensors: Any, strides: Any, width: int, block: Any) -> None:
    """Writes ``c = a b``, plus a number for each row.

    Args:
        zero: Of the type of all numbers.
        tensors: The addresses of ``c``, shape ``(rows, width)``; ``a``; ``b``, ``(depth, width)``;
            and of the numbers to add, ``(rows,)``, or 0.
        strides: How far apart ``a`` has its rows, and its columns.
        width: Of ``b`` and ``c``.
        block: The most lines of a tile, 4 or 1; rows and depth.
    """
    these = (
        numbers(tensors[0], zero),
        numbers(tensors[1], zero),
        numbers(tensors[2], zero),
        numbers(tensors[3], zero),
    )
    line, at, sizes = lanes(zero), 0, (block[1], block[2], width)
    while block[0] >= 4 and width - at >= 4 * line:
        _tile(these, sizes, strides, at, splat4(zero))
        at += 4 * line
    while width - at >= line:
        _tile(these, sizes, strides, at, splat1(zero))
        at += line
    if at < width:
        _rest(these, sizes, strides, at, splat1(zero))


@Template
def _tile(these: Any, sizes: Any, strides: Any, at: int, empty: Any) -> None:
    """The columns from ``at`` on, as many as ``empty`` is wide."""
    c, a, b, bias = these
    rows, depth, width = sizes
    far, near = strides
    row = 0
    while row + 4 <= rows:
        one, two, three, four = empty, empty, empty, empty
        if given(bias):
            one, two = filled(bias[row], empty), filled(bias[row + 1], empty)
            three, four = filled(bias[row + 2], empty), filled(bias[row + 3], empty)
        first, second = row * far, (row + 1) * far
        third, fourth = (row + 2) * far, (row + 3) * far
        for k in range(depth):
            read = load(b, k * width + at, empty)
            one = add_product(a[first + k * near], read, one)
            two = add_product(a[second + k * near], read, two)
            three = add_product(a[third + k * near], read, three)
            four = add_product(a[fourth + k * near], read, four)
        store(c, row * width + at, one)
        store(c, (row + 1) * width + at, two)
        store(c, (row + 2) * width + at, three)
        store(c, (row + 3) * width + at, four)
        row += 4
    while row < rows:
        one = empty
        if given(bias):
            one = filled(bias[row], empty)
        for k in range(depth):
            one = add_product(a[row * far + k * near], load(b, k * width + at, empty), one)
        store(c, row * width + at, one)
        row += 1


@Template
def _rest(these: Any, sizes: Any, strides: Any, at: int, empty: Any) -> None:
    """The last columns, from ``at``: fewer than a line."""
    c, a, b, bias = these
    rows, depth, width = sizes
    far, near = strides
    for row in range(rows):
        sums = empty
        if given(bias):
            sums = filled(bias[row], empty)
        for k in range(depth):
            read = load_some(b, k * width + at, empty, width - at)
            sums = add_product(a[row * far + k * near], read, sums)
        store_some(c, row * width + at, sums, width - at)


@Template
def activate(zero: Any, address: int, count: int, slope: Any) -> None:
    """Multiplies what is not above 0 with ``slope``, in place; NaN stays."""
    y, flat = numbers(address, zero), slope == zero
    for i in range(count):
        value = y[i]
        low = zero if flat else slope * value  # infinity times 0 would be NaN
        y[i] = low if value <= zero else value


@Template
def pass_back(zero: Any, gradient: int, outputs: int, count: int, slope: Any) -> None:
    """Multiplies gradients with ``slope`` where the activation's output is not above 0."""
    dy, y, flat = numbers(gradient, zero), numbers(outputs, zero), slope == zero
    for i in range(count):
        value = dy[i]
        low = zero if flat else slope * value
        dy[i] = low if y[i] <= zero else value


@Template
def scale_by(zero: Any, target: int, factors: int, count: int) -> None:
    """Multiplies numbers with others, in place."""
    values, by = numbers(target, zero), numbers(factors, zero)
    for i in range(count):
        values[i] = values[i] * by[i]
