from __future__ import annotations

import pytest
import torch
from torch import nn

from structure_net.core import TensorChange, assign


def test_assigning_keeps_the_parameter_and_carries_its_gradient() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    weight = model[0].weight
    model(torch.ones(1, 3)).sum().backward()
    change = TensorChange("weight", torch.ones(1, 3), lambda state: state[:1]).within("0")
    assert change.tensor == "0.weight"
    assign(model, [change])
    assert model[0].weight is weight
    assert torch.equal(weight, torch.ones(1, 3))
    assert weight.grad is not None
    assert weight.grad.shape == (1, 3)


def test_an_unknown_tensor_is_refused() -> None:
    with pytest.raises(AttributeError, match="gain"):
        assign(nn.Linear(2, 2), [TensorChange("gain", torch.ones(1), torch.clone)])
