"""Edits of the same are undone the last one first, others in any order."""

import pytest
import torch
from torch import nn

from structure_net.errors import SurgeryError
from structure_net.surgery import AddNeurons, InsertLayer, RemoveNeurons, apply


def network() -> tuple[nn.Sequential, torch.Tensor]:
    torch.manual_seed(0)
    layers = [nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)]
    return nn.Sequential(*layers).double(), torch.randn(3, 4, dtype=torch.float64)


WAYS = [AddNeurons("0", 2), RemoveNeurons("2", (1,)), InsertLayer("0"), InsertLayer("2")]


@pytest.mark.parametrize("first", WAYS)
@pytest.mark.parametrize("second", WAYS)
def test_edits_of_the_same_are_undone_the_last_one_first(first: object, second: object) -> None:
    model, x = network()
    optimizer = torch.optim.Adam(model.parameters())
    begin = [p.tolist() for p in model.parameters()]
    one = apply(model, first, x, optimizer=optimizer)
    two = apply(model, second, x, optimizer=optimizer)
    grown = [p.tolist() for p in model.parameters()]
    with pytest.raises(SurgeryError, match="Undo the later edits first"):
        one.undo()
    assert [p.tolist() for p in model.parameters()] == grown
    model(x)
    two.undo()
    model(x)
    one.undo()
    assert [p.tolist() for p in model.parameters()] == begin


def test_edits_of_different_layers_are_undone_in_any_order() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(5)))
    x = torch.randn(3, 4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    one = apply(model, AddNeurons("0", 1), x)
    two = apply(model, AddNeurons("2", 2), x)
    one.undo()
    model(x)
    two.undo()
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_an_edit_in_parts_is_undone_as_one() -> None:
    model, x = network()
    before = [p.tolist() for p in model.parameters()]
    done = apply(model, InsertLayer("0", 9), x)
    later = apply(model, AddNeurons("0", 1), x)
    with pytest.raises(SurgeryError, match="Undo the later edits first"):
        done.undo()
    later.undo()
    done.undo()
    assert [p.tolist() for p in model.parameters()] == before
