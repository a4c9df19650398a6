from __future__ import annotations

import pytest
import torch
from torch import nn

from structure_net.core import TensorChange, assign
from structure_net.core.changes import in_turn
from structure_net.core.rearranging import blank


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


def test_a_graph_that_is_kept_does_not_hold_gradients_to_the_old_shape() -> None:
    layer = nn.Linear(3, 2, bias=False)
    kept = layer.weight * 1
    assign(layer, [TensorChange("weight", torch.ones(4, 3), lambda state: state)])
    layer(torch.ones(1, 3)).sum().backward()
    assert kept.shape == (2, 3)
    assert layer.weight.grad is not None
    assert layer.weight.grad.shape == (4, 3)


def test_an_unknown_tensor_is_refused() -> None:
    with pytest.raises(AttributeError, match="gain"):
        assign(nn.Linear(2, 2), [TensorChange("gain", torch.ones(1), torch.clone)])


def test_changes_in_turn_are_the_last_data_and_both_carries() -> None:
    first = TensorChange("a", torch.zeros(2), lambda state: state[:2])
    second = TensorChange("a", torch.ones(3), lambda state: torch.cat((state, state[:1])))
    other, last = (TensorChange(name, torch.zeros(1), blank(torch.Size([1]))) for name in "bc")
    found = in_turn((first, other), (second, last))
    assert [change.tensor for change in found] == ["a", "b", "c"]
    assert torch.equal(found[0].data, torch.ones(3))
    assert found[0].carry(torch.tensor([5.0, 6.0, 7.0])).tolist() == [5.0, 6.0, 5.0]
    assert found[1].carry(torch.ones(4)).tolist() == [0.0]
    assert in_turn((), (second,)) == (second,)
