"""The largest numbers are found where a stable sort has them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from structure_net.core.largest import largest


def by_sorting(values: np.ndarray, count: int) -> list[int]:
    nans, others = np.flatnonzero(np.isnan(values)), np.flatnonzero(~np.isnan(values))
    order = others[np.argsort(-values[others], kind="stable")]
    return sorted(np.concatenate([nans, order])[:count].tolist())


@given(
    values=st.sampled_from(["float32", "float64"]).flatmap(
        lambda kind: arrays(kind, st.integers(1, 40))
    ),
    share=st.floats(0, 1),
)
def test_the_largest_are_those_of_a_stable_sort(values: np.ndarray, share: float) -> None:
    count = round(share * len(values))
    assert largest(values, count).tolist() == by_sorting(values, count)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
@pytest.mark.parametrize("spread", [1, 10, 1e6])
def test_many_numbers_with_ties(kind: str, spread: float) -> None:
    values = np.random.default_rng(0).normal(0, spread, 5000).round().clip(-6e4, 6e4).astype(kind)
    for count in (0, 1, 1700, 4999, 5000):
        assert largest(values, count).tolist() == by_sorting(values, count)


@pytest.mark.parametrize("nans", [0, 5, 3000])
def test_of_very_many_numbers_the_largest_are_found_too(nans: int) -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=100_000).astype(np.float32)
    values[generator.choice(len(values), nans, replace=False)] = np.nan
    values[generator.choice(len(values), 1000, replace=False)] = np.inf
    for count in (1, 2000, 5000, 60_000):
        assert largest(values, count).tolist() == by_sorting(values, count)


def test_zeros_are_equal_and_nan_is_largest() -> None:
    values = np.array([-0.0, 0.0, np.inf, np.nan, -np.inf, -np.nan], np.float32)
    assert [largest(values, n).tolist() for n in (1, 2, 3, 4, 5)] == [
        [3],
        [3, 5],
        [2, 3, 5],
        [0, 2, 3, 5],
        [0, 1, 2, 3, 5],
    ]


def test_numbers_that_lie_apart_are_read() -> None:
    assert largest(np.arange(10.0)[::-2], 2).tolist() == [0, 1]


@pytest.mark.parametrize("count", [-1, 4])
def test_more_than_there_are_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=r"count must be in \[0, 3\]"):
        largest(np.zeros(3), count)
