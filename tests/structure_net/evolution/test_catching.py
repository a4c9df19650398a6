from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from structure_net.errors import StructureNetError
from structure_net.evolution.catching import CaughtExample
from structure_net.surgery import AddNeurons, apply
from tests.interrupting import left_alone


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(4, 6)
        self.head = nn.Linear(6, 2)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        found: Tensor = self.head(self.hidden(left + right).relu())
        return found


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_the_first_two_samples_of_the_first_call_are_kept() -> None:
    model = nn.Linear(3, 2)
    caught, batch = CaughtExample(model), drawn(8, 3)
    assert not caught.caught
    model(batch)
    model(drawn(5, 3) + 1)
    assert caught.caught
    assert torch.equal(caught.example, batch[:2])


def test_the_hook_is_gone_after_the_first_call() -> None:
    model = nn.Linear(3, 2)
    CaughtExample(model)
    assert len(model._forward_pre_hooks) == 1
    model(drawn(8, 3))
    assert not model._forward_pre_hooks
    waiting = CaughtExample(model)
    waiting.close()
    waiting.close()
    assert not model._forward_pre_hooks


@pytest.mark.parametrize("named", [False, True])
def test_an_example_of_several_inputs_traces_the_model(named: bool) -> None:
    model = TwoInputs()
    caught = CaughtExample(model)
    batch: Any = {"left": drawn(8, 4), "right": drawn(8, 4)}
    output = model(**batch) if named else model(*batch.values())
    apply(model, AddNeurons("hidden", 2), caught.example)
    torch.testing.assert_close(model(**batch), output, rtol=1e-5, atol=1e-6)


def test_inputs_with_a_graph_are_let_go_of() -> None:
    model, caught = nn.Linear(3, 2), None
    caught = CaughtExample(model)
    model(drawn(4, 3).requires_grad_())
    assert not caught.example.requires_grad


def test_nothing_caught_is_an_error_with_the_way_out() -> None:
    with pytest.raises(StructureNetError, match=r"not called|No inputs.*pass `example`"):
        _ = CaughtExample(nn.Linear(3, 2)).example


def test_mixed_arguments_are_refused() -> None:
    model = TwoInputs()
    CaughtExample(model)
    with pytest.raises(StructureNetError, match="positional and with keyword"):
        model(drawn(2, 4), right=drawn(2, 4))


def test_an_example_at_hand_needs_no_hook() -> None:
    model, example = nn.Linear(3, 2), drawn(2, 3)
    assert CaughtExample(model, example).example is example
    assert not model._forward_pre_hooks


def test_a_model_that_waits_can_be_pickled() -> None:
    model = nn.Linear(3, 2)
    CaughtExample(model)
    copy = pickle.loads(pickle.dumps(model))
    assert torch.equal(copy(drawn(2, 3)), model(drawn(2, 3)))


def test_an_interrupt_while_a_hook_is_placed_leaves_none() -> None:
    model = nn.Linear(3, 2)
    files = ("nn/modules/module.py", "utils/hooks.py")
    assert left_alone(model, lambda: CaughtExample(model), files) > 3
    assert len(model._forward_pre_hooks) == 1
