from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.core.layers import StandardSparseLayer
from structure_net.core.undoing import Undoing
from structure_net.evolution.components.analyzers.interventions import (
    Interventions,
    scattered,
    shaken,
    silenced,
)


def _drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Residual(nn.Module):
    """Units behind a function, a sum, and inputs by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.first = StandardSparseLayer(4, 6, density=0.6, generator=_drawn())
        self.second = nn.Linear(6, 6)
        self.norm = nn.BatchNorm1d(6)
        self.last = nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Any:
        hidden = torch.relu(self.first(inputs))
        return self.last(hidden + F.gelu(self.norm(self.second(hidden))))


def _trial(network: nn.Module) -> Interventions:
    inputs = torch.randn(9, 4, generator=_drawn(), dtype=torch.float64)
    targets = torch.arange(9) % 3
    return Interventions(network, ({"inputs": inputs}, targets), F.cross_entropy)


def _state(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def test_nothing_of_the_network_is_left_changed() -> None:
    network = Residual().double().train()
    before, gradients = _state(network), [p.grad for p in network.parameters()]
    with Undoing() as undo:
        trial = _trial(network).open(undo)
        plain = trial.loss()
        assert trial.loss({"first": silenced()}) != plain
        assert trial.loss({"second": shaken(0.5, _drawn())}) != plain
        assert trial.loss_with({"last.weight": torch.zeros_like(network.last.weight)}) != plain
        assert trial.loss() == plain
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert [p.grad for p in network.parameters()] == gradients
    assert all(module.training for module in network.modules())
    assert not any(module._forward_hooks for module in network.modules())


def test_hooks_come_off_when_the_loss_raises() -> None:
    network = Residual().double()

    def refuse(output: Tensor, targets: Tensor) -> Tensor:
        raise RuntimeError("no loss")

    trial = Interventions(network, (torch.zeros(2, 4, dtype=torch.float64), None), refuse)
    with pytest.raises(RuntimeError, match="no loss"), Undoing() as undo:
        trial.open(undo).loss({"first": silenced()})
    assert not any(module._forward_hooks for module in network.modules())


def test_silenced_units_are_zero_where_others_read_them() -> None:
    network = Residual().double().eval()
    inputs = torch.randn(9, 4, generator=_drawn(), dtype=torch.float64)
    with Undoing() as undo:
        trial = _trial(network).open(undo)
        found = trial.loss({"first": silenced(torch.tensor([1, 4]))})
    with torch.no_grad():
        hidden = torch.relu(network.first(inputs))
        hidden[:, [1, 4]] = 0
        output = network.last(hidden + F.gelu(network.norm(network.second(hidden))))
        expected = F.cross_entropy(output, torch.arange(9) % 3)
    assert found == pytest.approx(float(expected), abs=1e-12)


def test_scattered_weights_stay_zero_where_they_are() -> None:
    weight = Residual().first.weight
    assert isinstance(weight, Tensor)
    noisy = scattered(weight, 0.1, _drawn())
    assert torch.equal(noisy == 0, weight == 0)
    assert not torch.equal(noisy, weight)
