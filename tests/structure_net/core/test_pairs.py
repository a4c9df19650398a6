from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
import torch

from structure_net.core.pairs import PairTuple
from structure_net.core.sparsity import pair_indices
from structure_net.surgery import AddConnections


def _pairs() -> PairTuple:
    return PairTuple.of(np.array([[0, 3], [1, 2]], dtype=np.int32))


def test_pairs_are_the_tuple_that_they_look_like() -> None:
    pairs, plain = _pairs(), ((0, 3), (1, 2))
    assert pairs == plain
    assert plain == pairs
    assert hash(pairs) == hash(plain)
    assert repr(pairs) == repr(plain)
    assert json.dumps(pairs) == json.dumps(plain)
    assert type(pairs[0][0]) is int


def test_copies_and_pickles_are_plain_tuples() -> None:
    for other in (copy.deepcopy(_pairs()), pickle.loads(pickle.dumps(_pairs()))):
        assert type(other) is tuple
        assert other == _pairs()


def test_the_table_holds_the_same_and_cannot_be_written() -> None:
    table = _pairs().table
    assert table.tolist() == [[0, 3], [1, 2]]
    assert table.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        table[0, 0] = 1


def test_edits_and_layers_read_them_as_they_read_tuples() -> None:
    edit, plain = AddConnections("a", _pairs()), AddConnections("a", ((0, 3), (1, 2)))
    assert edit == plain
    assert repr(edit) == repr(plain)
    found, expected = (pair_indices(one.pairs, (2, 4)) for one in (edit, plain))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    with pytest.raises(ValueError, match="must lie in a layer"):
        pair_indices(_pairs(), (2, 3))
