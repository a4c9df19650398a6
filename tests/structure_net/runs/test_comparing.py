from __future__ import annotations

import torch
from torch import nn

from structure_net.data import TensorSplit
from structure_net.runs.comparing import accuracy_on, loss_on


def test_measuring_leaves_each_module_in_its_own_mode() -> None:
    # A user's frozen BatchNorm stays in evaluation mode within a network that trains.
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2).eval())
    split = TensorSplit(torch.eye(2), torch.tensor([0, 1]))
    accuracy_on(network, split, "cpu")
    loss_on(network, split, "cpu", loss=nn.functional.cross_entropy)
    assert [module.training for module in network.modules()] == [True, True, False]
