"""Refusals name layers as their users do, and say what a module without channels follows."""

import pytest
import torch
from torch import nn

from structure_net.errors import SurgeryError
from structure_net.graph import graph_of
from structure_net.surgery import (
    AddHeads,
    AddNeurons,
    AddSkipConnection,
    Edit,
    InsertLayer,
    MergeNeurons,
    RemoveNeurons,
    apply,
    edit,
    preview,
)
from structure_net.surgery.wording import UserNames, refuse_channelless, speaking_of

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 6)
        self.b = nn.Sequential(nn.Linear(6, 6), nn.ReLU())
        self.norm, self.c, self.last = nn.LayerNorm(6), nn.Linear(6, 3), nn.LayerNorm(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        return self.last(self.c(self.norm(y + self.b(y))))


def grafted() -> nn.Module:
    torch.manual_seed(0)
    model = Normed()
    edit(model, InsertLayer("b.0"), X)
    return model


@pytest.mark.parametrize(
    "change",
    [
        AddNeurons("b.0", 0),
        RemoveNeurons("b.0", (99,)),
        RemoveNeurons("b.0", (0, 1, 2, 3, 4, 5)),
        MergeNeurons("b.0", ((1, 1),)),
        AddHeads("b.0", 2),
        AddSkipConnection("c", "b.0"),
        AddNeurons("bb.0", 2),
    ],
    ids=str,
)
def test_refusals_name_a_grafted_layer_as_its_user_does(change: Edit) -> None:
    model = grafted()
    for refused in (lambda: apply(model, change, X), lambda: preview(model, change, X)):
        with pytest.raises(SurgeryError, match=r"b\.0") as caught:
            refused()
        assert "origin" not in str(caught.value)


def test_an_undo_out_of_turn_and_an_old_graph_name_a_grafted_layer_as_its_user_does() -> None:
    model = grafted()
    loss = model(X).sum()
    first = apply(model, AddNeurons("b.0", 1), X)
    apply(model, AddNeurons("b.0", 1), X)
    for refused in (first.undo, loss.backward):
        with pytest.raises(SurgeryError) as caught:
            refused()
        assert "origin" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("norm", r"'norm' \(LayerNorm\) .* follows those of 'a', 'b.0': name one of these"),
        ("b.1", r"'b.1' \(ReLU\) .* Name the layer in front of it. Layers: 'a', 'b.0', 'c'"),
        ("b", r"'b' \(Sequential\) has no channels of its own. Name .* in it: 'b.0'"),
        ("last", r"'last' \(LayerNorm\) .* fixed by what is around it"),
        ("nrm", r"There is no layer 'nrm'"),
    ],
)
def test_a_module_without_channels_is_told_from_an_unknown_name(name: str, said: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(SurgeryError, match=said):
        edit(Normed(), AddNeurons(name, 2), X)


def test_a_norm_behind_one_layer_names_that_layer() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 3))
    graph = graph_of(model, X)
    with pytest.raises(SurgeryError, match="the channels of '0': name that layer instead"):
        refuse_channelless(model, graph, "1")
    refuse_channelless(model, graph, "0")


def test_names_of_other_modules_called_origin_stay() -> None:
    model = grafted()
    model.origin = nn.Linear(1, 1)
    names = UserNames(model)
    assert names.shown("'b.0.origin.weight' and 'origin', 'xb.0.origin', 'b.0.original'") == (
        "'b.0.weight' and 'origin', 'xb.0.origin', 'b.0.original'"
    )
    with pytest.raises(SurgeryError, match=r"^b\.0 is full$"), speaking_of(model):
        raise SurgeryError("b.0.origin is full")
