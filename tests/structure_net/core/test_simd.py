"""Instructions of kernels compute what they say, for both types."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from structure_net.core import simd
from structure_net.core.compiling import Instruction, Template, compiled_by_type
from structure_net.core.simd import (
    LINE,
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

KINDS = [np.float32, np.float64]


@Template
def _moved(read: Any, write: Any, like: Any) -> None:
    store(write, 0, add(load(read, 0, like), filled(read[1], like)))


@compiled_by_type("int64(float32, int64, int64, int64)", "int64(float64, int64, int64, int64)")
def shifted(zero: Any, source: int, target: int, lines: int) -> int:
    """Adds entry 1 to so many lines of ``source``."""
    read, write = numbers(source, zero), numbers(target, zero)
    if lines == 1:
        _moved(read, write, splat1(zero))
    elif lines == 2:
        _moved(read, write, splat2(zero))
    elif lines == 4:
        _moved(read, write, splat4(zero))
    else:
        _moved(read, write, splat8(zero))
    return lanes(zero) if given(read) else 0


@compiled_by_type("void(float32, int64, int64, int64)", "void(float64, int64, int64, int64)")
def products(zero: Any, source: int, target: int, count: int) -> None:
    """Totals of products of parts of ``source``, and a part of it."""
    read, write = numbers(source, zero), numbers(target, zero)
    line = load(read, 0, splat1(zero))
    some = load_some(read, 0, line, count)
    write[0] = total(some)
    write[1] = total(line)
    write[2] = total(add_product(read[1], line, some))
    write[3] = total(add(line, line))
    write[4] = total(add(line, some))
    wide = load(read, 0, splat4(zero))
    write[5] = total(line_dot(wide, wide))
    store_some(write, 6, line, count)


@compiled_by_type("void(float32, int64, int64)", "void(float64, int64, int64)")
def turned(zero: Any, source: int, target: int) -> None:
    """Transposes a square."""
    read, write = (numbers(source, zero), 0), (numbers(target, zero), 0)
    transpose_square(read, lanes(zero), write, lanes(zero), splat1(zero))


@compiled_by_type("int64(float32, int64)")
def third(zero: Any, places: int) -> int:
    """The third of some integers."""
    return integers(places)[2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lines", [1, 2, 4, 8])
def test_a_block_is_so_many_lines_of_64_bytes(lines: int, kind: Any) -> None:
    source = np.arange(200, dtype=kind)
    target = np.zeros_like(source)
    width = LINE // source.itemsize
    assert shifted(kind(0), source.ctypes.data, target.ctypes.data, lines) == width
    assert (target[: lines * width] == source[: lines * width] + 1).all()
    assert not target[lines * width :].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 1, 5, 8])
def test_sums_and_parts_are_those_of_numpy(count: int, kind: Any) -> None:
    source = np.arange(3, 203, dtype=kind)
    target = np.full(50, -1, dtype=kind)
    products(kind(0), source.ctypes.data, target.ctypes.data, count)
    line = source[: LINE // source.itemsize]
    some = line[:count].sum()
    whole = line.sum()
    wanted = [some, whole, 4 * whole + some, 2 * whole, whole + some]
    assert target[:5].tolist() == wanted
    assert target[5] == (source[: 4 * len(line)] ** 2).sum()
    assert target[6 : 6 + count].tolist() == line[:count].tolist()
    assert (target[6 + count :] == -1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_square_is_turned(kind: Any) -> None:
    width = LINE // kind(0).itemsize
    source = np.arange(width * width, dtype=kind).reshape(width, width)
    target = np.zeros_like(source)
    turned(kind(0), source.ctypes.data, target.ctypes.data)
    assert (target == source.T).all()


def test_integers_are_read() -> None:
    places = np.array([4, 5, 6, 7], np.int32)
    assert third(np.float32(0), places.ctypes.data) == 6


def test_every_instruction_says_what_it_does() -> None:
    instructions = [one for one in vars(simd).values() if isinstance(one, Instruction)]
    assert instructions
    for one in instructions:
        name = one.__wrapped__.__name__
        assert (one.__doc__ or "").startswith(f"``{name}(")
        with pytest.raises(TypeError, match=f"{name} is an instruction of kernels"):
            one(0)
