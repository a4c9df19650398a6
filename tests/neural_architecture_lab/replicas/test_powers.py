from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neural_architecture_lab.replicas.powers import less, over, powers_below, times
from structure_net.core.compiling import compiled_by_type
from structure_net.core.simd import lanes, load_some, numbers, splat1, store_some


@compiled_by_type(
    "void(float32, UniTuple(int64, 2), int64)", "void(float64, UniTuple(int64, 2), int64)"
)
def write_powers(zero: Any, addresses: Any, count: int) -> None:
    x, y, at = numbers(addresses[0], zero), numbers(addresses[1], zero), 0
    while at < count:
        store_some(y, at, powers_below(load_some(x, at, splat1(zero), count - at)), count - at)
        at += lanes(zero)


@compiled_by_type("void(float64, UniTuple(int64, 3))")
def write_thrice(zero: Any, addresses: Any) -> None:
    like, y = splat1(zero), numbers(addresses[2], zero)
    first = load_some(numbers(addresses[0], zero), 0, like, 3)
    second = load_some(numbers(addresses[1], zero), 0, like, 3)
    store_some(y, 0, less(first, second), 3)
    store_some(y, 3, times(first, second), 3)
    store_some(y, 6, over(first, second), 3)


def powers(values: Any) -> Any:
    found = np.empty_like(values)
    write_powers(values.dtype.type(0), (values.ctypes.data, found.ctypes.data), len(values))
    return found


@pytest.mark.parametrize(("kind", "low"), [("float32", -86.5), ("float64", -707.0)])
def test_powers_are_right_to_one_unit_in_the_last_place(kind: str, low: float) -> None:
    drawn = np.random.default_rng(0).random(100_000)
    values = np.concatenate([low * drawn, -(10.0 ** (-20 * drawn)), [0.0, -0.0, low]]).astype(kind)
    exact = np.exp(values.astype(np.longdouble))
    apart = np.abs(powers(values) - exact) / np.spacing(exact.astype(kind))
    assert apart.max() < 1


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_powers_of_what_is_far_below_are_0_and_of_no_number_none(kind: str) -> None:
    found = powers(np.array([-np.inf, -1e30, -750, np.nan, 0], kind))
    assert found[:3].tolist() == [0, 0, 0]
    assert np.isnan(found[3])
    assert found[4] == 1


def test_lanes_are_taken_from_multiplied_with_and_divided_by_each_other() -> None:
    first, second, found = np.array([3.0, 1.0, -8.0]), np.array([2.0, 4.0, 0.5]), np.empty(9)
    write_thrice(np.float64(0), (first.ctypes.data, second.ctypes.data, found.ctypes.data))
    assert found.tolist() == [*(first - second), *(first * second), *(first / second)]
