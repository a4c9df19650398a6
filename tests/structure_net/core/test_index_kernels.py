"""Compiled loops over places give what sets and sorts of the same places give."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structure_net.core.index_kernels import (
    NEAR,
    agrees,
    ascending_places,
    exchange_places,
    find_places,
    merge_free,
    sort_places,
    split_places,
)
from structure_net.core.live_index import LiveIndex
from structure_net.core.sparsity import SparsePattern

SHAPES = st.tuples(st.integers(1, 7), st.integers(1, 9))


def places(data: st.DataObject, size: int) -> list[int]:
    return sorted(data.draw(st.sets(st.integers(0, size - 1))))


def index_of(held: list[int], shape: tuple[int, int]) -> LiveIndex:
    keys = torch.tensor(held, dtype=torch.int64)
    return LiveIndex.from_pattern(SparsePattern(keys // shape[1], keys % shape[1], shape))


def whole(numbers: list[int]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array(numbers, dtype=np.int64)


@settings(deadline=None, max_examples=60)
@given(st.tuples(st.integers(1, 4), st.sampled_from([1, 3, NEAR, 3 * NEAR])), st.data())
def test_places_are_found_where_they_stand(shape: tuple[int, int], data: st.DataObject) -> None:
    size = shape[0] * shape[1]
    drawn = data.draw(st.lists(st.integers(0, size - 1)))  # in any order, and again
    held, wanted = places(data, size), whole([*range(size), *drawn, *sorted(drawn)])
    index, found = index_of(held, shape), np.empty_like(wanted)
    rows, columns = wanted // shape[1], wanted % shape[1]
    find_places(index.offsets.numpy(), index.columns.numpy(), rows, columns, found)
    assert found.tolist() == [held.index(k) if k in held else -1 for k in wanted]


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([1, 2, 2048, 2049, 2**22, 2**40, 2**62]), st.data())
def test_places_are_sorted(size: int, data: st.DataObject) -> None:
    drawn = data.draw(st.lists(st.integers(0, size - 1)))
    held = whole(drawn)
    sort_places(held, size)
    assert held.tolist() == sorted(drawn)


@settings(deadline=None, max_examples=60)
@given(SHAPES, st.data())
def test_an_exchanged_index_is_that_of_the_places_left_and_come(
    shape: tuple[int, int], data: st.DataObject
) -> None:
    size = shape[0] * shape[1]
    held = places(data, size)
    gone = sorted(data.draw(st.sets(st.sampled_from(held)))) if held else []
    left = [k for k in held if k not in gone]
    free = [k for k in range(size) if k not in left]
    new = sorted(data.draw(st.sets(st.sampled_from(free)))) if free else []
    both = sorted(left + new)
    index, wanted = index_of(held, shape), index_of(both, shape)
    made = [np.zeros_like(one.numpy()) for one in wanted.tensors]
    origin = np.empty(len(both), dtype=np.int64)
    read = index.offsets.numpy(), index.columns.numpy()
    assert exchange_places(*read, whole(gone), whole(new), origin, *made)
    for one, other in zip(made, wanted.tensors, strict=True):
        assert one.tolist() == other.tolist()
    assert [(held + new)[place] for place in origin] == both


@settings(deadline=None, max_examples=100)
@given(SHAPES, st.data())
def test_an_exchange_finds_what_does_not_fit(shape: tuple[int, int], data: st.DataObject) -> None:
    """And writes nowhere else, whatever it is given."""
    size = shape[0] * shape[1]
    held, gone, new = (places(data, size) for _ in range(3))
    fits = set(gone) <= set(held) and not (set(held) - set(gone)) & set(new)
    count, index = max(len(held) - len(gone) + len(new), 0), index_of(held, shape)
    sizes = (shape[0] + 1, count, shape[1] + 1, count, count)
    room = [np.full(one + 2, -7, dtype=np.int32) for one in sizes]
    for one in (room[0], room[2]):
        one[1:-1] = 0
    origin = np.full(count + 2, -7, dtype=np.int64)
    read, made = (index.offsets.numpy(), index.columns.numpy()), [one[1:-1] for one in room]
    assert exchange_places(*read, whole(gone), whole(new), origin[1:-1], *made) is fits
    assert all(one[0] == one[-1] == -7 for one in (origin, *room))


@given(st.lists(st.integers(0, 2**40)), st.integers(1, 2**20), st.booleans())
def test_places_are_rows_and_columns(drawn: list[int], width: int, ascending: bool) -> None:
    held = whole(sorted(drawn) if ascending else drawn)
    table = np.empty((2, len(held)), dtype=np.int64)
    split_places(held, width, table)
    assert table.T.tolist() == [list(divmod(int(place), width)) for place in held]


@settings(deadline=None, max_examples=60)
@given(SHAPES, st.data())
def test_places_that_ascend_within_a_matrix(shape: tuple[int, int], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(-1, shape[0])))
    columns = [data.draw(st.integers(-1, shape[1])) for _ in rows]
    both = list(zip(rows, columns, strict=True))
    inside = all(0 <= row < shape[0] and 0 <= column < shape[1] for row, column in both)
    wanted = inside and both == sorted(set(both))
    assert ascending_places(whole(rows), whole(columns), *shape) is wanted


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_what_was_drawn_joins_once_where_it_is_free(data: st.DataObject) -> None:
    taken = places(data, 30)
    if data.draw(st.booleans()):  # so many that they are halved, not walked along
        taken += range(30, 31 + NEAR * 30)
    chosen = [k for k in places(data, 30) if k not in taken]
    drawn = sorted(data.draw(st.lists(st.integers(0, 29), max_size=25)))
    made = np.empty(len(chosen) + len(drawn), dtype=np.int64)
    count = merge_free(whole(taken), whole(chosen), whole(drawn), made)
    assert made[:count].tolist() == sorted({*chosen, *drawn} - set(taken))


@settings(deadline=None, max_examples=60)
@given(SHAPES, st.data())
def test_an_index_agrees_with_itself_and_with_no_other_one(
    shape: tuple[int, int], data: st.DataObject
) -> None:
    held = places(data, shape[0] * shape[1])
    tensors = [one.numpy().copy() for one in index_of(held, shape).tensors]
    assert agrees(*tensors)
    which = data.draw(st.integers(1, 4).filter(lambda k: k != 2))
    if not held:
        return
    place = data.draw(st.integers(0, len(held) - 1))
    limit = (0, shape[1], 0, shape[0], len(held))[which]
    number = data.draw(st.integers(0, limit - 1))
    same = tensors[which][place] == number
    tensors[which][place] = number
    assert agrees(*tensors) == same
