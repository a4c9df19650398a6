"""Packed pairs are the same pairs, in about a byte each, and damage is found."""

from __future__ import annotations

import copy
import pickle
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from structure_net.core.pair_packing import PackedPairs
from structure_net.core.pairs import PairTable

NUMBERS = st.integers(0, 2**31) | st.integers(0, 40)


def ascending(rows: int, columns: int, count: int) -> NDArray[np.int64]:
    places = np.random.default_rng(0).choice(rows * columns, count, replace=False)
    return np.stack(np.divmod(np.sort(places), columns), 1)


@given(pairs=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20))
def test_packed_pairs_come_back_in_their_order(pairs: list[tuple[int, int]]) -> None:
    packed = PackedPairs.of(np.array(pairs))
    assert packed is not None
    assert packed.table().tolist() == [list(pair) for pair in pairs]


@pytest.mark.parametrize("pair", [(-1, 3), (3, -1), (2**40, 2**40), (2**63 - 1, 0), (0, 2**63 - 1)])
def test_numbers_that_have_no_place_in_a_matrix_are_not_packed(pair: tuple[int, int]) -> None:
    pairs = PairTable.of(np.array([pair, (0, 0)]))
    pairs.pack()
    assert pairs == (pair, (0, 0))
    assert pairs.packed is None


def test_no_pairs_are_not_packed() -> None:
    assert PackedPairs.of(np.zeros((0, 2), np.int64)) is None


def test_a_connection_that_moves_costs_about_a_byte_at_either_end() -> None:
    for rows, columns in ((256, 784), (1024, 1024)):
        packed = PackedPairs.of(ascending(rows, columns, rows * columns // 50))
        assert packed is not None
        assert len(packed.data) < 1.3 * packed.count


def test_bytes_that_hold_something_else_are_refused() -> None:
    packed = PackedPairs.of(ascending(20, 30, 100))
    assert packed is not None
    negative = zlib.compress(np.full(4, 255, np.uint8).tobytes())
    for wrong in (
        replace(packed, data=packed.data[:-1]),
        replace(packed, data=packed.data + b"x"),
        replace(packed, data=b"nothing"),
        replace(packed, data=zlib.compress(bytes(1000))),
        replace(packed, count=99),
        replace(packed, count=0),
        replace(packed, width=0),
        PackedPairs(1, 3, negative),
    ):
        with pytest.raises(ValueError, match="packed pairs"):
            wrong.table()


def test_a_packed_table_is_the_tuple_that_it_was() -> None:
    table = ascending(20, 30, 100)
    plain, pairs, other = (PairTable.of(table) for _ in range(3))
    pairs.pack()
    assert pairs.packed is not None
    as_tuple = tuple(plain)
    assert pairs == plain == as_tuple == pairs
    assert (hash(pairs), repr(pairs), len(pairs)) == (hash(plain), repr(plain), 100)
    assert (pairs[3], pairs[-2:], list(pairs)) == (plain[3], plain[-2:], list(as_tuple))
    assert np.array_equal(pairs.table, table)
    with pytest.raises(ValueError, match="read-only"):
        pairs.table[0, 0] = 1
    other.pack()
    assert other == pairs
    assert PairTable.unpacked_from(pairs.packed) == plain
    assert pairs != PairTable.of(table[:-1])


def test_copies_and_pickles_of_packed_pairs_stay_packed() -> None:
    pairs = PairTable.of(ascending(20, 30, 100))
    pairs.pack()
    written = pickle.dumps(pairs)
    assert len(written) < 500
    for other in (copy.copy(pairs), copy.deepcopy(pairs), pickle.loads(written)):
        assert isinstance(other, PairTable)
        assert other.packed == pairs.packed
