from __future__ import annotations

import json
from enum import Enum

import numpy as np
import pytest
import torch

from structure_net.evolution.metrics import LayeredGraph, MapBarcode, NullComparison, Unavailable
from structure_net.runs.analysis import as_numbers


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (0.5, 0.5),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (Unavailable("too few samples"), {"unavailable": "too few samples"}),
        (torch.tensor([[1.0, float("inf")]]), [[1.0, "Infinity"]]),
        (torch.tensor([True, False]), [True, False]),
        (torch.tensor(2), 2),
        (np.float64(1.5), 1.5),
        (Colour.RED, "red"),
        ({"a": (1, 2)}, {"a": [1, 2]}),
        ({(0, 1): 5}, {"0,1": 5}),
    ],
)
def test_every_kind_of_value_has_one_form(value: object, expected: object) -> None:
    found = as_numbers(value)
    assert found == expected
    json.dumps(found, allow_nan=False)


def test_a_result_has_its_fields_and_the_numbers_that_it_computes() -> None:
    found = as_numbers(NullComparison(1.0, torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)))
    assert found["shuffled"] == [0.0, 0.5, 1.0]
    assert found["mean"] == 0.5
    assert found["z"] == pytest.approx(1.0)


def test_a_number_that_is_not_there_keeps_its_reason_inside_a_result() -> None:
    found = as_numbers(NullComparison(1.0, torch.ones(3, dtype=torch.float64)))
    assert "changes nothing" in found["z"]["unavailable"]


def test_pairs_of_spaces_become_strings() -> None:
    found = as_numbers(MapBarcode((2, 1), {(0, 0): 2, (0, 1): 1, (1, 1): 1}, {(0, 1): 1}))
    assert found["bars"] == {"0,1": 1}
    assert found["through"] == 1


def test_a_large_tensor_is_summed_up() -> None:
    values = torch.arange(5000, dtype=torch.float64)
    expected = {"shape": [5000], "min": 0.0, "mean": 2499.5, "max": 4999.0}
    assert as_numbers(values) == expected


def test_a_graph_is_summed_up() -> None:
    graph = LayeredGraph.chain([torch.ones(3, 2)])
    assert as_numbers(graph) == {"layers": ["0", "1"], "sizes": [2, 3], "edges": 6}


def test_what_is_no_data_is_refused() -> None:
    with pytest.raises(TypeError, match="An analysis holds data; got function"):
        as_numbers(lambda: None)
