"""What is kept of a model's inputs is enough to trace it again."""

from __future__ import annotations

import pytest
import torch

from structure_net.errors import CheckpointError
from structure_net.surgery.examples import example_state, restored_example

CPU = torch.device("cpu")


def test_whole_numbers_are_kept_and_floating_point_inputs_are_shaped_alike() -> None:
    example = {
        "tokens": torch.tensor([[3, 1]]),
        "mask": torch.tensor([True, False]),
        "image": torch.rand(2, 3, dtype=torch.float64),
        "cache": [None, (torch.rand(1), 0.5)],
        "use_cache": False,
    }
    back = restored_example(example_state(example), CPU)
    assert list(back) == list(example)
    assert back["tokens"].tolist() == [[3, 1]]
    assert back["mask"].tolist() == [True, False]
    assert back["image"].shape == (2, 3)
    assert back["image"].dtype == torch.float64
    assert back["cache"][0] is None
    assert isinstance(back["cache"][1], tuple)
    assert back["cache"][1][1] == 0.5
    assert back["use_cache"] is False


def test_an_unknown_entry_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"unknown entry: \['set'\]"):
        restored_example({"set": [1]}, CPU)
    with pytest.raises(CheckpointError, match="unknown type: 'nn'"):
        restored_example({"shape": [1], "dtype": "nn"}, CPU)
