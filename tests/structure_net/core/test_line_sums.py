"""Sums of many lines at once are those of each by itself, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from structure_net.core.compiling import compiled_by_type
from structure_net.core.line_sums import FAR, fetch, room, sums_of, width
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


def test_a_block_counts_its_numbers() -> None:
    types = pytest.importorskip("numba.core.types")
    assert (block_of(types.float32, 2).count, block_of(types.float64, 2).count) == (32, 16)
