"""What strategies ask of a network before they propose."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from structure_net.core import StandardSparseLayer
from structure_net.errors import TraceError
from structure_net.evolution import EditingStrategy, NetworkContext
from structure_net.evolution.components import (
    ExtremaGrowthStrategy,
    PruningGrowthStrategy,
    WidthGrowthStrategy,
)
from structure_net.evolution.components.strategies.feasible import editable_layers


class Branching(nn.Module):
    """A path that depends on a value, so that it cannot be traced."""

    def __init__(self, first: nn.Module) -> None:
        super().__init__()
        self.first, self.last = first, nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = torch.relu(self.first(x))
        out: Tensor = self.last(hidden if hidden.sum() > 0 else -hidden)
        return out


def context(first: nn.Module) -> NetworkContext:
    return NetworkContext(Branching(first), (), example=torch.zeros(3, 4))


EXTREMES = {
    "extrema_dead": {"first": (1,)},
    "extrema_saturated": {"first": ()},
    "extrema_ratio": {"first": 0.2, "last": 0.5},
    "extrema_readers": {"first": ()},
    "extrema_input_activity": {"first": torch.ones(4)},
}


@pytest.mark.parametrize(
    ("strategy", "analysis"),
    [
        (WidthGrowthStrategy("score"), {"score": {"first": 1.0}}),
        (PruningGrowthStrategy({"parameters": 20}, what="units"), {}),
        (ExtremaGrowthStrategy(), EXTREMES),
    ],
)
def test_a_strategy_that_can_never_act_says_why(strategy: EditingStrategy, analysis: Any) -> None:
    with pytest.raises(TraceError, match=r"Branching cannot be traced"):
        strategy.propose(context(nn.Linear(4, 6)), analysis)


def test_connections_grow_where_the_network_cannot_be_traced() -> None:
    torch.manual_seed(0)
    sparse = context(StandardSparseLayer(4, 6, density=0.3))
    assert ExtremaGrowthStrategy(patch_size=2).propose(sparse, EXTREMES)
    assert editable_layers(sparse, sparse_suffices=True) == {}
    with pytest.raises(TraceError):
        editable_layers(sparse)
