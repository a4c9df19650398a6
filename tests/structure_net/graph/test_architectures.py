"""Every edit that goes through on any test model keeps the function; what is refused says why.

Tolerance: the models are small and in float64, an exact edit differs by the order of summation
alone, some 1e-15 per sum; a wrong one moves the first digits. 1e-10 is far from both.
"""

from __future__ import annotations

import pytest
from torch import nn

from structure_net.errors import SurgeryError
from structure_net.graph import ChannelGraph, trace
from structure_net.surgery import AddNeurons, DoubleWidth, apply
from tests.zoo import ZOO
from tests.zoo.attempts import Attempt, Subject

EXACT = 1e-10
LAWS = [name for name, case in ZOO.items() if case.laws]


def attempts(subject: Subject) -> list[Attempt]:
    found: list[Attempt] = []
    for layer in set(subject.graph.editable) & set(subject.layers):
        removal = subject.removal(layer)
        found += [*subject.growths(layer), subject.doubling(layer), subject.split(layer)]
        found += [] if removal is None else [removal]
    return found


@pytest.mark.parametrize("name", ZOO)
def test_every_edit_that_goes_through_keeps_the_function(name: str) -> None:
    moved = [a for a in attempts(Subject(ZOO[name])) if a.refusal is None and not a.gap < EXACT]
    assert not moved


@pytest.mark.parametrize("name", LAWS)
def test_every_layer_but_the_output_grows_or_doubles(name: str) -> None:
    subject = Subject(ZOO[name])
    assert not set(subject.layers) - set(subject.graph.editable)
    for layer in subject.layers:
        tried = [*subject.growths(layer)] or [subject.doubling(layer)]
        assert [a.refusal for a in tried] == [None] * len(tried)


@pytest.mark.parametrize("name", [name for name, case in ZOO.items() if case.refused])
def test_what_the_code_writes_out_is_frozen(name: str) -> None:
    case = ZOO[name]
    assert set(case.refused) <= set(trace(case.build(), case.inputs(2)).frozen)


@pytest.mark.parametrize("name", LAWS)
def test_a_graph_that_follows_edits_equals_a_new_trace(name: str) -> None:
    subject = Subject(ZOO[name])
    model, graph = subject.model, subject.graph
    for layer, group in graph.editable.items():
        if layer in subject.layers:
            grow = AddNeurons(layer, group.granularity)
            apply(model, grow if group.refusal is None else DoubleWidth(layer), subject.example)
    fresh = trace(model, subject.example)
    assert graph.shapes() == fresh.shapes()
    assert _widths(graph) == _widths(fresh)
    _check_printed_sizes(model)


def _widths(graph: ChannelGraph) -> dict[str, int]:
    return {name: group.size for name, group in graph.editable.items()}


def _check_printed_sizes(model: nn.Module) -> None:
    """What ``print(model)`` says of the commonest layers is true of their tensors."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            assert (module.out_features, module.in_features) == tuple(module.weight.shape)
        elif isinstance(module, nn.Conv2d):
            shape = module.out_channels, module.in_channels // module.groups
            assert shape == tuple(module.weight.shape[:2])
        elif isinstance(module, nn.modules.batchnorm._NormBase) and module.affine:
            assert (module.num_features,) == tuple(module.weight.shape)
        elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
            assert module.normalized_shape == tuple(module.weight.shape)
        elif isinstance(module, nn.Embedding):
            assert module.embedding_dim == module.weight.shape[1]
        elif isinstance(module, nn.RNNBase):
            assert module.hidden_size == module.weight_hh_l0.shape[1]
        elif isinstance(module, nn.MultiheadAttention):
            assert module.embed_dim == module.head_dim * module.num_heads


def test_a_literal_is_named_in_the_refusal() -> None:
    case = ZOO["literal_flatten"]
    graph = trace(case.build(), case.inputs(2))
    with pytest.raises(SurgeryError, match="the literal 64 in 'view'"):
        graph.group("conv")


def test_integers_that_equal_the_width_by_chance_stay() -> None:
    case = ZOO["equal_values"]
    model = case.build()
    apply(model, AddNeurons("hidden", 2), case.inputs(2))
    kept = vars(model)
    assert (kept["width"], kept["num_labels"], kept["seed"]) == (10, 8, 8)


def test_sizes_that_share_an_attribute_grow_together() -> None:
    case = ZOO["shared_attribute"]
    model = case.build()
    apply(model, AddNeurons("left", 1), case.inputs(2))
    assert isinstance(model.right, nn.Linear)
    assert model.right.out_features == 9
    assert model.width == 9


def test_an_attribute_that_arithmetic_depends_on_is_solved() -> None:
    case = ZOO["attribute_flatten"]
    model = case.build()
    apply(model, AddNeurons("conv", 2), case.inputs(2))
    assert model.flat_size == 6 * 16
