from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from structure_net.core.pairs import PairTable, PairTuple
from structure_net.core.sparsity import ascend, pair_indices
from structure_net.surgery import AddConnections, EditEntry, Journal, RemoveConnections

PLAIN = ((0, 3), (1, 2))
Kind = type[PairTuple] | type[PairTable]
both = pytest.mark.parametrize("kind", [PairTuple, PairTable])


def _pairs(kind: Kind) -> Any:
    return kind.of(np.array(PLAIN, dtype=np.int32))


@both
def test_pairs_are_the_tuple_that_they_look_like(kind: Kind) -> None:
    pairs = _pairs(kind)
    assert pairs == PLAIN
    assert pairs == PLAIN
    assert pairs == _pairs(PairTable)
    assert pairs == _pairs(PairTuple)
    assert pairs != PLAIN[::-1]
    assert pairs != PLAIN[:1]
    assert pairs != _pairs(PairTable)[::-1]
    assert hash(pairs) == hash(PLAIN)
    assert repr(pairs) == repr(PLAIN)
    assert json.dumps(tuple(pairs)) == json.dumps(PLAIN)
    assert type(pairs[0][0]) is int
    assert (pairs[-1], pairs[:1], len(pairs), list(pairs)) == ((1, 2), ((0, 3),), 2, list(PLAIN))
    more = ((5, 5),)
    assert (pairs + more, more + pairs) == (PLAIN + more, more + PLAIN)
    assert (0, 3) in pairs
    assert np.array_equal(np.asarray(pairs), PLAIN)
    assert not kind.of(np.zeros((0, 2), dtype=np.int64))


@both
def test_a_table_of_something_else_is_refused(kind: Kind) -> None:
    for table in (np.zeros((2, 2)), np.zeros((2, 2), bool), np.array([["a", "b"]])):
        with pytest.raises(TypeError, match="must hold whole numbers; got"):
            kind.of(table)  # type: ignore[arg-type]  # it is what is refused
    for shape in ((2, 3), (2,), (2, 2, 2), (2, 1)):
        with pytest.raises(ValueError, match=r"must have the shape \(n, 2\)"):
            kind.of(np.zeros(shape, np.int64))
    with pytest.raises(ValueError, match="up to 9223372036854775807"):
        kind.of(np.full((1, 2), 2**63, np.uint64))
    assert kind.of(np.array(PLAIN, np.uint64)) == PLAIN


@both
def test_copies_and_pickles_are_plain_tuples(kind: Kind) -> None:
    for other in (copy.deepcopy(_pairs(kind)), pickle.loads(pickle.dumps(_pairs(kind)))):
        assert type(other) is tuple
        assert other == _pairs(kind)


def test_a_table_is_not_written_as_something_else() -> None:
    with pytest.raises(TypeError, match="PairTable"):
        json.dumps(_pairs(PairTable))


def test_a_journal_of_tables_is_that_of_tuples() -> None:
    journals = [
        Journal([EditEntry(RemoveConnections("a", pairs), time="now")])
        for pairs in (PLAIN, _pairs(PairTable), _pairs(PairTuple))
    ]
    assert len({journal.to_json() for journal in journals}) == 1
    assert all(Journal.from_json(one.to_json()) == journals[0] == one for one in journals)


@both
def test_the_table_holds_the_same_and_cannot_be_written(kind: Kind) -> None:
    given = np.array(PLAIN)
    table = kind.of(given).table
    given[0, 0] = 7
    assert table.tolist() == [[0, 3], [1, 2]]
    assert table.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        table[0, 0] = 1


@both
def test_edits_and_layers_read_them_as_they_read_tuples(kind: Kind) -> None:
    edit, plain = AddConnections("a", _pairs(kind)), AddConnections("a", PLAIN)
    assert edit == plain
    assert hash(edit) == hash(plain)
    assert repr(edit) == repr(plain)
    found, expected = (pair_indices(one.pairs, (2, 4)) for one in (edit, plain))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    with pytest.raises(ValueError, match="must lie in a layer"):
        pair_indices(_pairs(kind), (2, 3))


@pytest.mark.parametrize(
    ("keys", "answer"), [([], True), ([5], True), ([1, 2], True), ([1, 1], False), ([2, 1], False)]
)
def test_keys_ascend_where_each_is_larger_than_the_one_before(
    keys: list[int], answer: bool
) -> None:
    assert ascend(torch.tensor(keys, dtype=torch.int64)) is answer
