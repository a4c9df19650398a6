"""What `check_analyzer` asks of the values that an analyzer reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from structure_net.evolution import Analyzer, Need, NetworkContext
from structure_net.evolution.metrics import Unavailable
from structure_net.testing import check_analyzer


class Says(Analyzer):
    """Reports one value under one key."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def analyze(self, context: NetworkContext) -> Mapping[str, Any]:
        return {"says_value": self.value}


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        torch.tensor([1.0, float("nan")]),
        np.array([float("nan"), 2.0]),
        Unavailable("too few samples"),
        {"layer": (Unavailable("no graph"), {"deep": [torch.ones(2), None]})},
        {(1, 2): frozenset({"a"})},
    ],
    ids=repr,
)
def test_data_of_every_kind_are_accepted_and_nan_equals_nan(value: Any) -> None:
    check_analyzer(Says(value), prefix="says_")


@pytest.mark.parametrize(
    ("value", "promise"),
    [
        (torch.ones(1, requires_grad=True), "tensors without a graph"),
        ({"layer": torch.nn.Linear(1, 1)}, "must hold data; got Linear"),
        ([object()], "must hold data; got object"),
    ],
)
def test_what_is_no_data_is_refused(value: Any, promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check_analyzer(Says(value))


def test_keys_without_the_prefix_are_refused() -> None:
    with pytest.raises(AssertionError, match="must begin with 'mine_'"):
        check_analyzer(Says(1.0), prefix="mine_")


class ReadsAll(Analyzer):
    """Reads as many samples as there are, where it asked for five."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.PROBE})
    probe_size = 5

    def analyze(self, context: NetworkContext) -> Mapping[str, Any]:
        assert context.observation is not None
        assert context.observation.probe is not None
        return {"reads_values": context.observation.probe.values}


class ReadsItsShare(ReadsAll):
    """Reads the five that it asked for."""

    def analyze(self, context: NetworkContext) -> Mapping[str, Any]:
        assert context.observation is not None
        assert context.observation.probe is not None
        return {"reads_values": context.observation.probe.first(self.probe_size).values}


def test_an_analyzer_that_depends_on_what_others_ask_for_is_caught() -> None:
    with pytest.raises(AssertionError, match="when another one needs more"):
        check_analyzer(ReadsAll())
    check_analyzer(ReadsItsShare())
