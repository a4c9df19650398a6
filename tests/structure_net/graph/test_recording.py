"""Recordings: what a model's code says about sizes is found, and the model is as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from structure_net.core.undoing import Undoing
from structure_net.graph.recording import Recording, call_of, follow
from structure_net.graph.terms import Attribute, Combined, Constant, Dimension, Term
from tests.zoo import ZOO


def recorded(name: str) -> tuple[Recording, Any]:
    case = ZOO[name]
    model, inputs = case.build(), case.inputs(2)
    args = inputs if isinstance(inputs, tuple) else (inputs,)
    undo = Undoing()
    with undo, undo:
        found = follow(model, undo)
        program = torch.export.export(model, args, strict=False)
    return found, program


def claimed(found: Recording, function: str) -> list[tuple[Term, Term]]:
    return [pair for call in found.calls if call.function == function for pair in call.claims]


def test_every_operation_carries_the_number_of_its_call() -> None:
    _, program = recorded("gpt")
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    assert all(call_of(node) is not None for node in calls)


def test_an_attribute_is_recorded_where_it_is_a_size() -> None:
    record, _ = recorded("gpt")
    attribute = Attribute("blocks.0.attention", "n_embd")
    assert [right for _, right in claimed(record, "split")] == [attribute] * 3


def test_a_literal_is_recorded_as_one() -> None:
    record, _ = recorded("literal_flatten")
    assert [right for _, right in claimed(record, "view")] == [Constant(64)]


def test_arithmetic_on_shapes_and_attributes_is_recorded() -> None:
    record, _ = recorded("attribute_arithmetic")
    rights = [right for _, right in claimed(record, "view")]
    width, heads = Attribute("", "width"), Attribute("", "heads")
    assert heads in rights
    assert Combined("//", width, heads) in rights


def test_a_size_under_a_root_is_a_number() -> None:
    record, _ = recorded("scaled_by_width")
    (term,) = record.notes.numbers
    assert isinstance(term, Dimension)
    assert term.size == 8


def test_a_branch_on_a_size_is_a_comparison() -> None:
    record, _ = recorded("conditional")
    (comparison,) = record.notes.comparisons
    assert (comparison.relation, comparison.right, comparison.outcome) == ("==", Constant(8), True)


@pytest.mark.parametrize("name", ["gpt", "encoder_layer", "lstm", "tuple_attribute", "grouped"])
def test_the_model_is_as_it_was(name: str) -> None:
    case = ZOO[name]
    model, inputs = case.build(), case.inputs(2)
    before = [dict(vars(module)) for module in model.modules()]
    with torch.no_grad():
        expected = model(inputs)
        with (undo := Undoing()):
            follow(model, undo)
            model(inputs)
        assert torch.equal(model(inputs), expected)
    after = [dict(vars(module)) for module in model.modules()]
    assert [_types(b) for b in before] == [_types(a) for a in after]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def _types(attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        name: [type(entry) for entry in value] if isinstance(value, tuple) else type(value)
        for name, value in attributes.items()
    }


class Raises(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.width = 4

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("the forward fails")


def test_the_model_is_as_it_was_when_its_forward_raises() -> None:
    model = Raises()
    undo = Undoing()
    found = follow(model, undo)
    with pytest.raises(RuntimeError, match="the forward fails"), undo:
        model(torch.zeros(1))
    assert type(model.width) is int
    assert not found.notes.active
    assert not model._forward_hooks
