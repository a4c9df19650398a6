"""Nested values come back from JSON and tensors as they were, types included."""

from __future__ import annotations

import json
import math
from collections import Counter, OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from structure_net.errors import CheckpointError
from structure_net.surgery.packing import pack, unpack

KEYS = st.text() | st.integers() | st.booleans() | st.tuples(st.integers(), st.text())
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=8,
)


def there_and_back(value: object) -> Any:
    tensors: dict[str, Tensor] = {}
    text = json.dumps(pack(value, "it", tensors), allow_nan=False)
    return unpack(json.loads(text), tensors)


def alike(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        # True and 1 are the same key to a dict, so that keys are compared as they come.
        pairs = zip(a.items(), b.items(), strict=True)
        return len(a) == len(b) and all(alike(k, m) and alike(v, w) for (k, v), (m, w) in pairs)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(alike(v, w) for v, w in zip(a, b, strict=True))
    return bool(a == b)


@given(value=VALUES)
def test_plain_values_come_back_equal_and_of_the_same_types(value: object) -> None:
    assert alike(there_and_back(value), value)


def test_numbers_that_are_not_finite_come_back() -> None:
    back = there_and_back([math.inf, -math.inf, math.nan])
    assert back[:2] == [math.inf, -math.inf]
    assert math.isnan(back[2])


def test_tensors_and_arrays_come_back_as_copies() -> None:
    first = torch.arange(3)
    value = {"a": [first], "b": np.arange(2, dtype=np.uint32), "c": torch.tensor(2.0)}
    back = there_and_back(value)
    assert torch.equal(back["a"][0], torch.arange(3))
    assert back["b"].dtype == np.uint32
    assert back["b"].tolist() == [0, 1]
    assert back["c"].shape == ()
    back["a"][0][0] = 7
    assert first[0] == 0


def test_a_counter_comes_back_a_counter() -> None:
    assert there_and_back(Counter({2: 1, 5: 3})) == Counter({2: 1, 5: 3})
    assert isinstance(there_and_back(Counter({2: 1})), Counter)
    assert there_and_back(OrderedDict(a=1)) == {"a": 1}


def test_a_key_that_looks_like_a_tag_is_kept_apart() -> None:
    assert there_and_back({"$tensor": "x"}) == {"$tensor": "x"}
    assert there_and_back({"$": {"$float": 1}}) == {"$": {"$float": 1}}


@pytest.mark.parametrize("value", [{1, 2}, object(), print, b"bytes"])
def test_any_other_type_is_refused_with_its_place(value: object) -> None:
    with pytest.raises(CheckpointError, match=rf"'it.deep.1' is a {type(value).__name__}"):
        pack({"deep": [0, value]}, "it", {})


def test_a_tensor_that_is_not_there_is_an_error() -> None:
    with pytest.raises(CheckpointError, match="'x' that it does not hold"):
        unpack({"$tensor": "x"}, {})


def test_a_tag_that_is_not_known_is_an_error() -> None:
    with pytest.raises(CheckpointError, match=r"kind '\$set'"):
        unpack({"$set": [1]}, {})
