"""A convolution's live weights times a batch of images, as compiled loops over a grid.

Each weight is a shift of a line of the grid (`convolution_grids`): a tile of 8 blocks of an output
line is the sum of as many shifted tiles as its channel has live weights, and stays in registers
while it is summed. Backward, the tile of an input line meets each shifted tile of the gradient
once, for its own gradient and for the weight's.

Sums are taken in one order, which depends on nothing but the pattern and the images given. All
arguments are addresses of contiguous tensors: int32 where they are indices, otherwise of the type
of ``zero``, float32 or float64. An address of 0 says that there is no such tensor, or that it is
not asked for. Callers answer for sizes and ranges: nothing is checked here.
"""

from __future__ import annotations

from typing import Any, Final

from structure_net.core.compiling import Template, compiled
from structure_net.core.convolution_grids import FORM
from structure_net.core.simd import (
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
    splat8,
    store,
    store_some,
    total,
)

_IMAGES: Final = FORM.index("images")
_AREA: Final = FORM.index("area")
_PITCH: Final = FORM.index("pitch")
_MARGIN: Final = FORM.index("margin")
_LENGTH: Final = FORM.index("length")
_PLANES: Final = FORM.index("planes")
_SIZE: Final = FORM.index("size")
_INPUTS: Final = FORM.index("inputs")
_HEIGHT: Final = FORM.index("height")
_OUTPUTS: Final = FORM.index("outputs")
_DOWN: Final = FORM.index("down")
_TAPS: Final = len(FORM)


@compiled("void(int64, int64, int64, int64, int64, int64)")
def list_forward(
    offsets: int, columns: int, form: int, each: int, starts: int, places: int
) -> None:
    """Writes where the weights of each output channel read.

    Args:
        offsets: Where each output channel's connections begin. Shape ``(outputs + 1,)``.
        columns: Of each connection the input channel; where a connection is a single weight, that
            times ``size``, and the place in the kernel added.
        form: The grid's.
        each: The weights of a connection: 1, or ``size``.
        starts: Written: where each output channel's weights begin. Shape ``(outputs + 1,)``.
        places: Written: from where on each weight reads. Shape ``(weights,)``.
    """
    first, column, about = integers(offsets), integers(columns), integers(form)
    begin, place = integers(starts), integers(places)
    size, planes, length = about[_SIZE], about[_PLANES], about[_LENGTH]
    outputs = about[_OUTPUTS]
    for output in range(outputs + 1):
        begin[output] = first[output] * each
    for k in range(first[outputs]):
        for part in range(each):
            channel = column[k] if each > 1 else column[k] // size
            tap = _TAPS + 2 * (part if each > 1 else column[k] % size)
            place[k * each + part] = (channel * planes + about[tap]) * length + about[tap + 1]


@compiled("void(int64, int64, int64, int64, int64, int64, int64, int64)")
def list_backward(  # noqa: PLR0913, PLR0917 - addresses, not objects
    offsets: int,
    rows: int,
    order: int,
    form: int,
    each: int,
    starts: int,
    places: int,
    origins: int,
) -> None:
    """Writes which weights read each line of the inputs, and where their outputs lie.

    Args:
        offsets: Where each column's connections begin in column order.
        rows: The output channel of each connection in column order.
        order: Its place in row order.
        form: See `list_forward`.
        each: See there.
        starts: Written: where each line's weights begin. Shape ``(inputs * planes + 1,)``.
        places: Written: where the outputs of each weight lie. Shape ``(weights,)``.
        origins: Written: the place of each weight in row order. Shape ``(weights,)``.
    """
    first, row, old, about = integers(offsets), integers(rows), integers(order), integers(form)
    begin, place, origin = integers(starts), integers(places), integers(origins)
    size, planes, inputs = about[_SIZE], about[_PLANES], about[_INPUTS]
    n = 0
    for line in range(inputs * planes):
        begin[line] = n
        channel = line // planes
        for part in range(size):
            if about[_TAPS + 2 * part] == line % planes:
                column = channel if each > 1 else channel * size + part
                shift = about[_TAPS + 2 * part + 1]
                for k in range(first[column], first[column + 1]):
                    place[n] = row[k] * about[_LENGTH] + about[_MARGIN] - shift
                    origin[n] = old[k] * each + (part if each > 1 else 0)
                    n += 1
    begin[inputs * planes] = n


@compiled(
    "void(float32, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64)",
    "void(float64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64)",
)
def convolve(  # noqa: PLR0913, PLR0917 - addresses, not objects
    zero: Any,
    x: int,
    values: int,
    bias: int,
    y: int,
    starts: int,
    places: int,
    form: int,
    scratch: int,
    first: int,
    last: int,
) -> None:
    """Writes the outputs of images ``first`` to ``last``.

    Args:
        zero: A zero of the type of all numbers.
        x: Shape ``(batch, inputs, H, W)``.
        values: The weights, output channel by output channel. Shape ``(weights,)``.
        bias: Shape ``(outputs,)``, or 0.
        y: Written. Shape ``(batch, outputs, H', W')``.
        starts: From `list_forward`.
        places: From there.
        form: The grid's.
        scratch: Zeros, written. Shape ``(inputs * planes + outputs, length)``.
        first: The first image, a multiple of those that the grid holds.
        last: The image behind the last.
    """
    xs, ys, vs, bs = numbers(x, zero), numbers(y, zero), numbers(values, zero), numbers(bias, zero)
    begin, place, about = integers(starts), integers(places), integers(form)
    held, empty = numbers(scratch, zero), splat8(zero)
    length, outputs = about[_LENGTH], about[_INPUTS] * about[_PLANES]
    for image in range(first, last, about[_IMAGES]):
        count = min(about[_IMAGES], last - image)
        _lay(xs, held, 0, about, (0, image, count), zero)
        for at in range(0, count * about[_AREA], 8 * lanes(zero)):
            for output in range(about[_OUTPUTS]):
                sums = filled(bs[output], empty) if given(bs) else empty
                for k in range(begin[output], begin[output + 1]):
                    sums = add_product(vs[k], load(held, place[k] + at, empty), sums)
                store(held, (outputs + output) * length + at, sums)
        _fetch(ys, held, outputs * length, about, (1, image, count), zero)


@compiled(
    "void(float32, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64)",
    "void(float64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64)",
)
def differentiate(  # noqa: PLR0913, PLR0917 - addresses, not objects
    zero: Any,
    x: int,
    dy: int,
    values: int,
    dx: int,
    dv: int,
    starts: int,
    places: int,
    form: int,
    scratch: int,
    first: int,
    last: int,
) -> None:
    """Writes the gradient at images ``first`` to ``last``, and adds that at the weights.

    Args:
        zero: See `convolve`.
        x: See there; 0 where ``dv`` is.
        dy: The gradient at the outputs. Shape ``(batch, outputs, H', W')``.
        values: The weights in the order of ``places``. Shape ``(weights,)``.
        dx: Written where the grid holds it. Shape ``(batch, inputs, H, W)``; 0 if not asked for.
        dv: Added to, in the order of ``places``. Shape ``(weights,)``; 0 if not asked for.
        starts: From `list_backward`.
        places: From there.
        form: The grid's.
        scratch: Zeros, written. Shape ``(2 * inputs * planes + outputs, length)``.
        first: See `convolve`.
        last: See there.
    """
    xs, ys, vs = numbers(x, zero), numbers(dy, zero), numbers(values, zero)
    gx, gv = numbers(dx, zero), numbers(dv, zero)
    begin, place, about = integers(starts), integers(places), integers(form)
    held = numbers(scratch, zero)
    lines, length = about[_INPUTS] * about[_PLANES], about[_LENGTH]
    inputs = about[_OUTPUTS] * length
    slopes = inputs + lines * length
    for image in range(first, last, about[_IMAGES]):
        count = min(about[_IMAGES], last - image)
        _lay(ys, held, about[_MARGIN], about, (1, image, count), zero)
        if given(gv):
            _lay(xs, held, inputs, about, (0, image, count), zero)
        for at in range(0, count * about[_AREA], 8 * lanes(zero)):
            if not given(gv):
                _to_inputs(held, vs, begin, place, (lines, length, slopes, at), splat8(zero))
            elif not given(gx):
                _to_weights(held, gv, begin, place, (lines, length, inputs, at), splat8(zero))
            else:
                sizes = lines, length, inputs, slopes, at
                _to_both(held, vs, gv, begin, place, sizes, splat8(zero))
        if given(gx):
            _fetch(gx, held, slopes, about, (0, image, count), zero)


@Template
def _to_inputs(held, vs, begin, place, sizes, empty):  # type: ignore[no-untyped-def]  # types of the caller
    """Writes the gradient at the tile ``at`` of each line of inputs."""
    lines, length, slopes, at = sizes
    for line in range(lines):
        sums = empty
        for k in range(begin[line], begin[line + 1]):
            sums = add_product(vs[k], load(held, place[k] + at, empty), sums)
        store(held, slopes + line * length + at, sums)


@Template
def _to_weights(held, gv, begin, place, sizes, empty):  # type: ignore[no-untyped-def]  # types of the caller
    """Adds the gradient of the tile ``at`` to that at each weight."""
    lines, length, inputs, at = sizes
    for line in range(lines):
        seen = load(held, inputs + line * length + at, empty)
        for k in range(begin[line], begin[line + 1]):
            gv[k] += total(line_dot(seen, load(held, place[k] + at, empty)))


@Template
def _to_both(held, vs, gv, begin, place, sizes, empty):  # type: ignore[no-untyped-def]  # noqa: PLR0913, PLR0917
    """Both in one, so that each tile of the gradient is read once."""
    lines, length, inputs, slopes, at = sizes
    for line in range(lines):
        sums, seen = empty, load(held, inputs + line * length + at, empty)
        for k in range(begin[line], begin[line + 1]):
            slope = load(held, place[k] + at, empty)
            sums = add_product(vs[k], slope, sums)
            gv[k] += total(line_dot(seen, slope))
        store(held, slopes + line * length + at, sums)


@Template
def _lay(images, grid, start, about, copied, zero):  # type: ignore[no-untyped-def]  # types of the caller
    """Copies images onto the lines that begin at ``start``.

    ``copied`` is 0 for inputs or 1 for outputs, the first image, and how many.
    """
    side, first, count = copied
    planes = 1 if side else about[_PLANES]
    down, along = (1, 1) if side else (about[_DOWN], about[_DOWN + 1])
    channels = about[_INPUTS + 3 * side]
    high, wide = about[_HEIGHT + 3 * side], about[_HEIGHT + 3 * side + 1]
    parts = _TAPS + 2 * about[_SIZE] + (5 * about[_PLANES] if side else 0)
    line = splat1(zero)
    for n in range(channels * planes):
        part, onto = parts + 5 * (n % planes), start + n * about[_LENGTH]
        if count < about[_IMAGES]:
            for at in range(onto, onto + about[_LENGTH] - about[_MARGIN]):
                grid[at] = zero
        for image in range(count):
            for row in range(about[part + 1]):
                source = ((first + image) * channels + n // planes) * high
                source = (source + about[part] + row * down) * wide + about[part + 2]
                target = onto + image * about[_AREA] + row * about[_PITCH] + about[part + 4]
                rest = about[part + 3]
                if along > 1:
                    for at in range(rest):
                        grid[target + at] = images[source + at * along]
                    continue
                while rest >= lanes(zero):
                    store(grid, target, load(images, source, line))
                    source += lanes(zero)
                    target += lanes(zero)
                    rest -= lanes(zero)
                if rest:
                    store_some(grid, target, load_some(images, source, line, rest), rest)


@Template
def _fetch(images, grid, start, about, copied, zero):  # type: ignore[no-untyped-def]  # types of the caller
    """Copies images back from the lines that begin at ``start``: see `_lay`."""
    side, first, count = copied
    planes = 1 if side else about[_PLANES]
    down, along = (1, 1) if side else (about[_DOWN], about[_DOWN + 1])
    channels = about[_INPUTS + 3 * side]
    high, wide = about[_HEIGHT + 3 * side], about[_HEIGHT + 3 * side + 1]
    parts = _TAPS + 2 * about[_SIZE] + (5 * about[_PLANES] if side else 0)
    line = splat1(zero)
    for n in range(channels * planes):
        part, onto = parts + 5 * (n % planes), start + n * about[_LENGTH]
        for image in range(count):
            for row in range(about[part + 1]):
                target = ((first + image) * channels + n // planes) * high
                target = (target + about[part] + row * down) * wide + about[part + 2]
                source = onto + image * about[_AREA] + row * about[_PITCH] + about[part + 4]
                rest = about[part + 3]
                if along > 1:
                    for at in range(rest):
                        images[target + at * along] = grid[source + at]
                    continue
                while rest >= lanes(zero):
                    store(images, target, load(grid, source, line))
                    source += lanes(zero)
                    target += lanes(zero)
                    rest -= lanes(zero)
                if rest:
                    store_some(images, target, load_some(grid, source, line, rest), rest)
