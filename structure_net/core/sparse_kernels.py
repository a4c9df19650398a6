"""The products of live weights with a batch, as compiled loops over lines of the batch.

Matrices are feature-major: the batch of one feature lies together, ``(features, batch)``, so that
one instruction works on many samples of a connection. The batch is taken in tiles of up to 8 lines,
whose sums stay in registers.

All sums are taken in one order, which depends on nothing but the pattern and the batch: a kernel
may be given any block of rows (or of columns), and the blocks together are bit for bit the whole.

Every kernel takes ``(zero, tensors, index, batch, block)``:

- ``zero``: a zero of the type of all numbers, float32 or float64;
- ``tensors`` and ``index``: the addresses of contiguous tensors, the latter of int32;
- ``batch``: the number of samples;
- ``block``: the most lines of a tile (1, 2, 4 or 8), the first row to compute, and the row behind
  the last.

Callers answer for sizes and ranges: nothing is checked here.
"""

from __future__ import annotations

from typing import Any

from structure_net.core.compiling import Template, compiled_by_type
from structure_net.core.line_sums import FAR, fetch, room, sums_of, width
from structure_net.core.simd import (
    add,
    add_product,
    filled,
    given,
    integers,
    lanes,
    line_dot,
    load,
    load_some,
    numbers,
    splat1,
    splat2,
    splat4,
    splat8,
    store,
    store_some,
    total,
    transpose_square,
)

Addresses = tuple[int, ...]


@compiled_by_type(
    "void(float32, UniTuple(int64, 4), UniTuple(int64, 3), int64, UniTuple(int64, 3))",
    "void(float64, UniTuple(int64, 4), UniTuple(int64, 3), int64, UniTuple(int64, 3))",
)
def multiply(zero: Any, tensors: Addresses, index: Addresses, batch: int, block: Addresses) -> None:
    """Writes rows of ``y = W x + b``; with the index of the columns, of ``W^T x + b``.

    Args:
        zero: See above, as for ``batch`` and ``block``.
        tensors: ``x``, shape ``(in, batch)``; the live weights in row order, ``(n,)``; ``b``,
            ``(out,)``, or 0; and ``y``, ``(out, batch)``.
        index: Where each row's weights begin, ``(out + 1,)``; their columns, ``(n,)``; and their
            places among the values, ``(n,)``, or 0 where they lie in this order.
        batch: The number of samples.
        block: Of rows.
    """
    these = (
        numbers(tensors[0], zero),
        numbers(tensors[1], zero),
        numbers(tensors[2], zero),
        numbers(tensors[3], zero),
    )
    places = (integers(index[0]), integers(index[1]), integers(index[2]))
    line, at = lanes(zero), 0
    while block[0] >= 8 and batch - at >= 8 * line:
        _multiply_tile(these, places, batch, block, at, splat8(zero))
        at += 8 * line
    while block[0] >= 4 and batch - at >= 4 * line:
        _multiply_tile(these, places, batch, block, at, splat4(zero))
        at += 4 * line
    while block[0] >= 2 and batch - at >= 2 * line:
        _multiply_tile(these, places, batch, block, at, splat2(zero))
        at += 2 * line
    while batch - at >= line:
        _multiply_tile(these, places, batch, block, at, splat1(zero))
        at += line
    if at < batch:
        _multiply_rest(these, places, batch, block, at, splat1(zero))


@Template
def _multiply_tile(these: Any, places: Any, batch: int, block: Any, at: int, empty: Any) -> None:
    """The tile at ``at`` of the batch, as wide as ``empty``."""
    x, values, bias, y = these
    offsets, columns, order = places
    k, last = offsets[block[1]] + 0, offsets[block[2]] - 1
    for row in range(block[1], block[2]):
        end = offsets[row + 1]
        sums = empty
        if given(bias):
            sums = filled(bias[row], empty)
        while k < end:
            fetch(x, columns[min(k + FAR, last)] * batch + at, empty)
            place = order[k] if given(order) else k
            sums = add_product(values[place], load(x, columns[k] * batch + at, empty), sums)
            k += 1
        store(y, row * batch + at, sums)


@Template
def _multiply_rest(these: Any, places: Any, batch: int, block: Any, at: int, empty: Any) -> None:
    """The last samples of the batch, from ``at``: fewer than a line."""
    count = batch - at
    x, values, bias, y = these
    offsets, columns, order = places
    for row in range(block[1], block[2]):
        sums = empty
        if given(bias):
            sums = filled(bias[row], empty)
        for k in range(offsets[row], offsets[row + 1]):
            some = load_some(x, columns[k] * batch + at, empty, count)
            place = order[k] if given(order) else k
            sums = add_product(values[place], some, sums)
        store_some(y, row * batch + at, sums, count)


@compiled_by_type(
    "void(float32, UniTuple(int64, 5), UniTuple(int64, 3), int64, UniTuple(int64, 3))",
    "void(float64, UniTuple(int64, 5), UniTuple(int64, 3), int64, UniTuple(int64, 3))",
)
def differentiate(
    zero: Any, tensors: Addresses, index: Addresses, batch: int, block: Addresses
) -> None:
    """Writes rows of ``dx = W^T dy``, and of ``dv = dy x^T`` what belongs to their weights.

    Each row of ``dy`` that a weight reads serves both.

    Args:
        zero: See above, as for ``batch`` and ``block``.
        tensors: ``dy``, shape ``(out, batch)``; ``x``, ``(in, batch)``; the live weights in row
            order, ``(n,)``; ``dx``, ``(in, batch)``; and ``dv``, ``(n,)``, in row order.
        index: Where each column's weights begin in column order, ``(in + 1,)``; their rows,
            ``(n,)``; and their places in row order, ``(n,)``.
        batch: The number of samples.
        block: Of columns.
    """
    these = (
        numbers(tensors[0], zero),
        numbers(tensors[1], zero),
        numbers(tensors[2], zero),
        numbers(tensors[3], zero),
        numbers(tensors[4], zero),
    )
    places = (integers(index[0]), integers(index[1]), integers(index[2]))
    if batch == 0:
        for k in range(places[0][block[1]], places[0][block[2]]):
            these[4][places[2][k]] = zero
    line, at = lanes(zero), 0
    while block[0] >= 8 and batch - at >= 8 * line:
        _differentiate_tile(these, places, batch, block, at, splat8(zero))
        at += 8 * line
    while block[0] >= 4 and batch - at >= 4 * line:
        _differentiate_tile(these, places, batch, block, at, splat4(zero))
        at += 4 * line
    while block[0] >= 2 and batch - at >= 2 * line:
        _differentiate_tile(these, places, batch, block, at, splat2(zero))
        at += 2 * line
    while batch - at >= line:
        _differentiate_tile(these, places, batch, block, at, splat1(zero))
        at += line
    if at < batch:
        _differentiate_rest(these, places, batch, block, at, splat1(zero))


@Template
def _differentiate_tile(
    these: Any, places: Any, batch: int, block: Any, at: int, empty: Any
) -> None:
    """The tile at ``at`` of the batch, as wide as ``empty``."""
    dy, x, values, dx, dv = these
    offsets, rows, order = places
    k, last = offsets[block[1]] + 0, offsets[block[2]] - 1
    lines, wide, held = room(empty), width(empty), 0
    for column in range(block[1], block[2]):
        end = offsets[column + 1]
        read = load(x, column * batch + at, empty)
        sums = empty
        while k < end:
            fetch(dy, rows[min(k + FAR, last)] * batch + at, empty)
            one = load(dy, rows[k] * batch + at, empty)
            sums = add_product(values[order[k]], one, sums)
            store(lines, held * wide, line_dot(one, read))
            k += 1
            held += 1
            if held == wide:
                store(lines, 0, sums_of(lines, empty))
                for place in range(wide):
                    to = order[k - wide + place]
                    dv[to] = dv[to] + lines[place] if at else lines[place]
                held = 0
        store(dx, column * batch + at, sums)
    store(lines, 0, sums_of(lines, empty))
    for place in range(held):
        to = order[k - held + place]
        dv[to] = dv[to] + lines[place] if at else lines[place]


@Template
def _differentiate_rest(
    these: Any, places: Any, batch: int, block: Any, at: int, empty: Any
) -> None:
    """The last samples of the batch, from ``at``: fewer than a line."""
    count = batch - at
    dy, x, values, dx, dv = these
    offsets, rows, order = places
    for column in range(block[1], block[2]):
        read = load_some(x, column * batch + at, empty, count)
        sums = empty
        for k in range(offsets[column], offsets[column + 1]):
            one = load_some(dy, rows[k] * batch + at, empty, count)
            sums = add_product(values[order[k]], one, sums)
            dot = total(line_dot(one, read))
            dv[order[k]] = dv[order[k]] + dot if at else dot
        store_some(dx, column * batch + at, sums, count)


@compiled_by_type(
    "void(float32, UniTuple(int64, 3), UniTuple(int64, 3), int64, UniTuple(int64, 3))",
    "void(float64, UniTuple(int64, 3), UniTuple(int64, 3), int64, UniTuple(int64, 3))",
)
def sample(zero: Any, tensors: Addresses, index: Addresses, batch: int, block: Addresses) -> None:
    """Writes of ``dv = dy x^T`` what belongs to the weights of rows.

    Args:
        zero: See above, as for ``batch`` and ``block``.
        tensors: ``dy``, shape ``(out, batch)``; ``x``, ``(in, batch)``; and ``dv``, ``(n,)``, in
            row order.
        index: Where each row's weights begin, ``(out + 1,)``; their columns, ``(n,)``; and 0.
        batch: The number of samples.
        block: Of rows.
    """
    these = (numbers(tensors[0], zero), numbers(tensors[1], zero), numbers(tensors[2], zero))
    places = (integers(index[0]), integers(index[1]))
    if batch == 0:
        for k in range(places[0][block[1]], places[0][block[2]]):
            these[2][k] = zero
    line, at = lanes(zero), 0
    while block[0] >= 8 and batch - at >= 8 * line:
        _sample_tile(these, places, batch, block, at, splat8(zero))
        at += 8 * line
    while block[0] >= 4 and batch - at >= 4 * line:
        _sample_tile(these, places, batch, block, at, splat4(zero))
        at += 4 * line
    while block[0] >= 2 and batch - at >= 2 * line:
        _sample_tile(these, places, batch, block, at, splat2(zero))
        at += 2 * line
    while batch - at >= line:
        _sample_tile(these, places, batch, block, at, splat1(zero))
        at += line
    if at < batch:
        _sample_rest(these, places, batch, block, at, splat1(zero))


@Template
def _sample_tile(these: Any, places: Any, batch: int, block: Any, at: int, empty: Any) -> None:
    """The tile at ``at`` of the batch, as wide as ``empty``."""
    dy, x, dv = these
    offsets, columns = places
    k, last = offsets[block[1]] + 0, offsets[block[2]] - 1
    lines, wide, held = room(empty), width(empty), 0
    for row in range(block[1], block[2]):
        end = offsets[row + 1]
        read = load(dy, row * batch + at, empty)
        while k < end:
            fetch(x, columns[min(k + FAR, last)] * batch + at, empty)
            one = load(x, columns[k] * batch + at, empty)
            store(lines, held * wide, line_dot(read, one))
            k += 1
            held += 1
            if held == wide:
                sums = sums_of(lines, empty)
                if at:
                    sums = add(load(dv, k - wide, sums), sums)
                store(dv, k - wide, sums)
                held = 0
    sums = sums_of(lines, empty)
    if at:
        sums = add(load_some(dv, k - held, sums, held), sums)
    store_some(dv, k - held, sums, held)


@Template
def _sample_rest(these: Any, places: Any, batch: int, block: Any, at: int, empty: Any) -> None:
    """The last samples of the batch, from ``at``: fewer than a line."""
    count = batch - at
    dy, x, dv = these
    offsets, columns = places
    for row in range(block[1], block[2]):
        read = load_some(dy, row * batch + at, empty, count)
        for k in range(offsets[row], offsets[row + 1]):
            some = load_some(x, columns[k] * batch + at, empty, count)
            dot = total(line_dot(read, some))
            dv[k] = dv[k] + dot if at else dot


@compiled_by_type(
    "void(float32, UniTuple(int64, 2), int64, int64, UniTuple(int64, 3))",
    "void(float64, UniTuple(int64, 2), int64, int64, UniTuple(int64, 3))",
)
def add_up(zero: Any, tensors: Addresses, index: int, batch: int, block: Addresses) -> None:
    """Writes sums over the batch.

    Args:
        zero: See above, as for ``batch`` and ``block``.
        tensors: ``dy``, shape ``(out, batch)``, and the sums, ``(out,)``.
        index: None: 0.
        batch: The number of samples.
        block: Of rows.
    """
    dy, db, empty, line = (
        numbers(tensors[0], zero),
        numbers(tensors[1], zero),
        splat1(zero),
        lanes(zero),
    )
    for row in range(block[1], block[2]):
        sums, at, end = empty, row * batch, (row + 1) * batch
        while at + line <= end:
            sums = add(sums, load(dy, at, empty))
            at += line
        if at < end:
            sums = add(sums, load_some(dy, at, empty, end - at))
        db[row] = total(sums)


@compiled_by_type(
    "void(float32, UniTuple(int64, 2), int64, int64, UniTuple(int64, 3))",
    "void(float64, UniTuple(int64, 2), int64, int64, UniTuple(int64, 3))",
)
def transpose(zero: Any, tensors: Addresses, width: int, height: int, block: Addresses) -> None:
    """Writes rows of the transpose.

    Args:
        zero: See above, as for ``block``.
        tensors: What to read, shape ``(height, width)``, and to write, ``(width, height)``.
        width: Of what is read.
        height: Of what is read.
        block: Of rows to write.
    """
    read, write = numbers(tensors[0], zero), numbers(tensors[1], zero)
    like, line, column = splat1(zero), lanes(zero), block[1]
    while column + line <= block[2]:
        row = 0
        while row + line <= height:
            source, target = (read, row * width + column), (write, column * height + row)
            transpose_square(source, width, target, height, like)
            row += line
        for rest in range(row, height):
            for lane in range(column, column + line):
                write[lane * height + rest] = read[rest * width + lane]
        column += line
    for row in range(height):
        for rest in range(column, block[2]):
            write[rest * height + row] = read[row * width + rest]
