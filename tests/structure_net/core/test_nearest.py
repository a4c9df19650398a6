"""The numbers nearest to 0 are found where a stable sort has them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from structure_net.core.largest import bits_of
from structure_net.core.nearest import nearest_zero


def by_sorting(values: np.ndarray, share: float) -> list[int]:
    found: list[int] = []
    for side in (np.flatnonzero(values >= 0), np.flatnonzero(values < 0)):
        order = side[np.argsort(np.abs(values[side]), kind="stable")]
        found += order[: round(share * len(side))].tolist()
    return sorted(found)


@given(
    values=st.sampled_from(["float16", "float32", "float64"]).flatmap(
        lambda kind: arrays(kind, st.integers(0, 40))
    ),
    share=st.floats(0, 1),
)
def test_the_nearest_to_zero_are_those_of_a_stable_sort(values: np.ndarray, share: float) -> None:
    assert nearest_zero(values, share).tolist() == by_sorting(values, share)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("spread", [0.1, 10, 1e6])
@pytest.mark.parametrize("whole", [True, False])
def test_many_numbers_with_ties(kind: str, spread: float, whole: bool) -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(0, spread, 5000)
    values = (values.round() if whole else values).astype(kind)
    values[generator.choice(5000, 800, replace=False)] = [np.nan, -0.0, np.inf, -np.inf] * 200
    for share in (0, 0.3, 0.99, 1):
        assert nearest_zero(values, share).tolist() == by_sorting(values, share)


def test_a_share_is_one() -> None:
    with pytest.raises(ValueError, match=r"share must be in \[0, 1\]; got 1\.1"):
        nearest_zero(np.zeros(3), 1.1)


def test_bits_are_those_of_the_type() -> None:
    infinity, numbers, width = bits_of(np.array([1.0, np.inf], np.float32))
    assert (numbers[1], width) == (infinity, 32)
