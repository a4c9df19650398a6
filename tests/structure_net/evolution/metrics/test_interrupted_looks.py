"""Metrics that run a network leave it and torch as they were, wherever interrupts strike."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from structure_net.core.network_factory import create_standard_network
from structure_net.evolution.measuring import measured
from structure_net.evolution.metrics.chains import chain_jacobians
from structure_net.evolution.metrics.linking import layered_graph_of
from tests.interrupting import left_alone

EXAMPLE = torch.arange(12.0).reshape(4, 3) - 5
FILES = ("core/running.py", "utils/_python_dispatch.py")


class Tied(nn.Module):
    """Reads one matrix in two ways, beside a sparse part and one with statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.sparse = create_standard_network([3, 4, 4], density=0.5, seed=0)
        self.norm, self.first = nn.BatchNorm1d(4), nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(torch.relu(self.first(self.norm(self.sparse(x)))))
        return out


def test_an_interrupt_while_a_graph_is_read_leaves_nothing_behind() -> None:
    model = Tied()
    layered_graph_of(model, EXAMPLE)
    files = (*FILES, "metrics/linking.py")
    assert left_alone(model, lambda: layered_graph_of(model, EXAMPLE), files, every=41) > 10


def test_an_interrupt_while_jacobians_are_taken_leaves_nothing_behind() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    files = (*FILES, "metrics/chains.py")
    assert (
        left_alone(model, lambda: chain_jacobians(model, ["0", "3"], EXAMPLE), files, every=5) > 10
    )


def test_an_interrupt_while_a_network_is_scored_leaves_its_modes() -> None:
    model, batch = nn.Sequential(nn.Dropout(), nn.Linear(3, 2)), (EXAMPLE, torch.zeros(4).long())
    files = (*FILES, "evolution/measuring.py")
    assert (
        left_alone(model, lambda: measured(model, [batch], nn.functional.cross_entropy), files) > 10
    )
