"""Heads of attention: added, removed, silenced and revived."""

import copy

import pytest
import torch

from structure_net.errors import SurgeryError
from structure_net.surgery import (
    AddHeads,
    CopyUnits,
    MaskHeads,
    RemoveHeads,
    ReviveHeads,
    SplitNeurons,
    apply,
    edit,
)
from tests.zoo import ZOO

CASES = [("grouped_query", "v"), ("encoder_layer", "block.self_attn.in_proj")]


def built(name: str) -> tuple[torch.nn.Module, torch.Tensor]:
    return ZOO[name].build(0), ZOO[name].inputs(2, 0)


@pytest.mark.parametrize(("name", "layer"), CASES)
def test_a_revived_head_is_as_it_was(name: str, layer: str) -> None:
    model, x = built(name)
    before, tree = model(x), repr(model)
    edit(model, MaskHeads(layer, (0,)), x)
    assert not torch.allclose(model(x), before)
    copied = copy.deepcopy(model)
    copied.load_state_dict(model.state_dict())
    torch.testing.assert_close(copied(x), model(x), rtol=0, atol=0)
    edit(model, ReviveHeads(layer, (0,)), x)
    assert torch.equal(model(x), before)
    assert repr(model) == tree


@pytest.mark.parametrize(("name", "layer"), CASES)
def test_a_silent_head_receives_no_gradient(name: str, layer: str) -> None:
    model, x = built(name)
    edit(model, MaskHeads(layer, (1,)), x)
    model(x).square().sum().backward()
    rows = {"grouped_query": slice(2, 4), "encoder_layer": slice(20, 24)}[name]
    tensor = dict(model.named_parameters())[{"v": "v.weight"}.get(layer, f"{layer}_weight")]
    assert not bool(tensor.grad[rows].any())
    assert bool(tensor.grad[: rows.start].any())


def test_masking_equals_removing() -> None:
    masked, x = built("grouped_query")
    removed, _ = built("grouped_query")
    edit(masked, MaskHeads("v", (0,)), x)
    edit(removed, RemoveHeads("v", (0,)), x)
    torch.testing.assert_close(masked(x), removed(x), rtol=0, atol=1e-12)


def test_heads_can_be_added_beside_a_silent_one() -> None:
    model, x = built("grouped_query")
    before = model(x)
    edit(model, MaskHeads("v", (0,)), x)
    silent = model(x)
    edit(model, AddHeads("v", 1), x)
    torch.testing.assert_close(model(x), silent, rtol=0, atol=1e-12)
    edit(model, ReviveHeads("v", (0,)), x)
    torch.testing.assert_close(model(x), before, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (AddHeads("v", 0), "at least 1"),
        (RemoveHeads("v", ()), "name at least one"),
        (RemoveHeads("v", (0, 1)), "empty"),
        (RemoveHeads("v", (2,)), "0 to 1; got 2"),
        (MaskHeads("v", (0, 1)), "keep at least one"),
        (MaskHeads("v", (0, 0)), "named once"),
        (ReviveHeads("v", (0,)), "is not masked"),
        (AddHeads("stem", 1), "no attention heads"),
    ],
)
def test_refusals_are_clear(change: object, reason: str) -> None:
    model, x = built("grouped_query")
    with pytest.raises(SurgeryError, match=reason):
        edit(model, change, x)


def test_heads_can_begin_as_copies() -> None:
    model, x = built("grouped_query")
    before = model(x)
    done = apply(model, AddHeads("v", 1), x, initialiser=CopyUnits(noise=0.0))
    assert isinstance(done.edit, SplitNeurons)
    assert model.v.weight.shape[0] == 6
    origin = done.edit.indices[0]
    assert torch.equal(model.v.weight[4:], model.v.weight[origin : origin + 2])
    torch.testing.assert_close(model(x), before, rtol=0, atol=1e-12)


def test_more_copies_of_heads_than_there_are_heads_are_refused() -> None:
    model, x = built("grouped_query")
    with pytest.raises(SurgeryError, match="Add them in several edits"):
        apply(model, AddHeads("v", 3), x, initialiser=CopyUnits())
