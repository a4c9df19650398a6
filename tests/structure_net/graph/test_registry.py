"""A rule is a function from a call, whose arguments are operands, to the axes of its result."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from structure_net.graph import trace
from structure_net.graph.rules import RULES, Call, Operand


class Flipped(nn.Module):
    """Reverses its hidden channels, for which there is no rule."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(3, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(x).flip(-1))


def test_a_rule_sees_the_operation_with_its_operands(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Call] = []

    def rule(call: Call):
        seen.append(call)
        return call.arguments["self"].axes

    assert "hidden" in trace(Flipped(), torch.ones(2, 3)).frozen
    monkeypatch.setitem(RULES, "flip", rule)
    assert "hidden" in trace(Flipped(), torch.ones(2, 3)).editable
    assert {(call.operation, call.shapes) for call in seen} == {("flip", ((2, 4),))}
    operand = seen[0].arguments["self"]
    assert isinstance(operand, Operand)
    assert (operand.shape, operand.name) == ((2, 4), None)
