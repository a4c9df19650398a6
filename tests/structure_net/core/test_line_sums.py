"""Sums of many lines at once are those of each by itself, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from structure_net.core.compiling import compiled_by_type
from structure_net.core.line_sums import FAR, fetch, least_of, most_of, room, sums_of, width
from structure_net.core.simd import block_of, load, numbers, splat1, splat8, store, total

KINDS = [np.float32, np.float64]


@compiled_by_type("int64(float32, int64, int64)", "int64(float64, int64, int64)")
def summed(zero: Any, source: int, target: int) -> int:
    """Writes the sums of lines at ``source``, taken at once, and behind them one by one."""
    read, write, line = numbers(source, zero), numbers(target, zero), splat1(zero)
    lines, wide = room(splat8(zero)), width(splat8(zero))
    for k in range(wide):
        fetch(read, min(k + FAR, wide - 1) * wide, line)
        store(lines, k * wide, load(read, k * wide, line))
    store(write, 0, sums_of(lines, splat8(zero)))
    for k in range(wide):
        write[wide + k] = total(load(read, k * wide, line))
    return int(wide)


@pytest.mark.parametrize("kind", KINDS)
def test_sums_of_lines_are_the_total_of_each(kind: Any) -> None:
    source = np.random.default_rng(0).standard_normal(256).astype(kind)
    target = np.zeros(64, dtype=kind)
    wide = summed(kind(0), source.ctypes.data, target.ctypes.data)
    assert wide == 64 // source.itemsize
    assert target[:wide].tobytes() == target[wide : 2 * wide].tobytes()
    exact = source[: wide * wide].astype(np.float64).reshape(wide, wide).sum(1)
    np.testing.assert_allclose(target[:wide], exact, atol=1e-4 if kind is np.float32 else 1e-12)


@compiled_by_type("void(float32, int64, int64)", "void(float64, int64, int64)")
def extrema(zero: Any, source: int, target: int) -> None:
    """Writes the least and the largest number of each of the lines at ``source``."""
    read, write, line = numbers(source, zero), numbers(target, zero), splat1(zero)
    lines, wide = room(line), width(line)
    for k in range(wide):
        store(lines, k * wide, load(read, k * wide, line))
    store(write, 0, least_of(lines, line))
    store(write, wide, most_of(lines, line))


@pytest.mark.parametrize("kind", KINDS)
def test_extrema_of_lines_are_those_of_each(kind: Any) -> None:
    source = np.random.default_rng(0).standard_normal(256).astype(kind)
    wide = 64 // source.itemsize
    target = np.zeros((2, wide), dtype=kind)
    extrema(kind(0), source.ctypes.data, target.ctypes.data)
    lines = source[: wide * wide].reshape(wide, wide)
    np.testing.assert_array_equal(target, (lines.min(1), lines.max(1)))


def test_a_block_counts_its_numbers() -> None:
    types = pytest.importorskip("numba.core.types")
    assert (block_of(types.float32, 2).count, block_of(types.float64, 2).count) == (32, 16)
