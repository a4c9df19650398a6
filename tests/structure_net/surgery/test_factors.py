"""Plain factors: what the model's code multiplies by must not follow a size in silence."""

from __future__ import annotations

import pytest
import torch

from structure_net.errors import SurgeryError
from structure_net.surgery import AddNeurons, RemoveNeurons, apply
from structure_net.surgery.factors import Factors, changed_factor
from tests.zoo import ZOO


def test_factors_are_seen_in_order() -> None:
    x = torch.ones(2)
    with Factors() as factors:
        _ = x * 2 / 4.0 + 3
    assert [value for _, value in factors.seen] == [2.0, 4.0]


def test_equal_runs_have_no_changed_factor() -> None:
    run = [("mul", 2.0), ("div", float("nan"))]
    assert changed_factor(run, run) is None
    assert changed_factor(run, run[:1]) == "it used 2 plain factors and uses 1"
    assert changed_factor(run[:1], [("mul", 3.0)]) == "'mul' by 2 became 'mul' by 3"


@pytest.mark.parametrize("name", ["scaled_by_inverse", "scaled_by_length"])
@pytest.mark.parametrize("edit", [RemoveNeurons("hidden", (3,)), AddNeurons("hidden", 1)])
def test_a_factor_that_follows_the_width_undoes_the_edit(
    name: str, edit: RemoveNeurons | AddNeurons
) -> None:
    case = ZOO[name]
    model, example = case.build(), case.inputs(2)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(SurgeryError, match="a number that depends on the size"):
        apply(model, edit, example)
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
