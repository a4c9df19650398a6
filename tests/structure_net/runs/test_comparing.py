from __future__ import annotations

import torch
from torch import nn

from structure_net.data import TensorSplit
from structure_net.evolution.measuring import measured
from structure_net.runs.comparing import measured_on


def test_measuring_leaves_each_module_in_its_own_mode() -> None:
    # A user's frozen BatchNorm stays in evaluation mode within a network that trains.
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2).eval())
    split = TensorSplit(torch.eye(2), torch.tensor([0, 1]))
    measured_on(network, split, "cpu", loss=nn.functional.cross_entropy)
    assert [module.training for module in network.modules()] == [True, True, False]


def test_scores_of_a_split_are_means_over_its_samples_however_it_is_cut() -> None:
    torch.manual_seed(0)
    network = nn.Linear(3, 4).double()
    inputs, targets = torch.randn(10, 3, dtype=torch.float64), torch.randint(4, (10,))
    outputs = network(inputs).detach()
    loss, split = nn.functional.cross_entropy, TensorSplit(inputs, targets)
    for found in (
        measured_on(network, split, "cpu", loss=loss),
        measured(network, split.batches(3), loss),
    ):
        assert found is not None
        assert abs(found.loss - loss(outputs, targets).item()) < 1e-10
        assert found.accuracy == (outputs.argmax(1) == targets).double().mean().item()
    assert measured(network, [], loss) is None
