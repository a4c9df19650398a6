"""What runs in training only follows every edit, and evaluation decides what new channels hold."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from structure_net.graph import trace
from structure_net.graph.channels import Growth
from structure_net.surgery import AddNeurons, DoubleWidth, apply
from tests.zoo import ZOO, modes
from tests.zoo.attempts import Subject

NAMES = [case.name for case in modes.CASES]


@pytest.mark.parametrize("name", NAMES)
def test_training_runs_after_every_edit(name: str) -> None:
    subject = Subject(ZOO[name])
    for layer in set(subject.graph.editable) & set(subject.layers):
        group = subject.graph.group(layer)
        doubles = group.growth is Growth.DOUBLING
        change = DoubleWidth(layer) if doubles else AddNeurons(layer, group.granularity)
        model = subject.twin()
        apply(model, change, subject.example)
        out = model.train()(subject.case.inputs(3))
        first = out[0] if isinstance(out, tuple) else out
        first.sum().backward()


def test_an_auxiliary_head_reads_what_grows() -> None:
    case = ZOO["auxiliary_head"]
    graph = trace(case.build(), case.inputs(2))
    assert {axis.tensor for axis in graph.group("stem").axes} >= {"deep.weight", "squeeze.weight"}
    read = next(a for a in graph.group("squeeze").axes if a.tensor == "auxiliary.weight")
    assert read.lift([0, 2]) == (0, 1, 2, 3, 8, 9, 10, 11)
    assert graph.frozen["auxiliary"] == "the model's output"


def test_a_sampled_code_grows_in_its_mean_and_its_spread() -> None:
    case = ZOO["sampler"]
    group = trace(case.build(), case.inputs(2)).group("mean")
    assert {axis.tensor for axis in group.axes} >= {"spread.weight", "decoder.weight"}


def test_a_literal_of_training_alone_is_named() -> None:
    case = ZOO["training_literal"]
    graph = trace(case.build(), case.inputs(2))
    assert "the literal 8 in 'randn'" in graph.frozen["hidden"]
    assert "wide" in graph.editable


def test_a_layer_of_training_that_cannot_be_traced_fixes_what_it_may_read() -> None:
    case = ZOO["undecided"]
    assert "'extra.weight', which only runs in training" in str(
        trace(case.build(), case.inputs(2)).frozen["hidden"]
    )


def _state(model: nn.Module) -> dict[str, Any]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_tracing_for_training_leaves_no_mark() -> None:
    case = ZOO["auxiliary_head"]
    model = case.build().train()
    model.norm.eval()
    before, modes_before = _state(model), [m.training for m in model.modules()]
    generator = torch.get_rng_state()
    trace(model, case.inputs(2))
    assert [m.training for m in model.modules()] == modes_before
    assert all(torch.equal(tensor, before[name]) for name, tensor in _state(model).items())
    assert torch.equal(torch.get_rng_state(), generator)
