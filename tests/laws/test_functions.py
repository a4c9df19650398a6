"""Growth, copies and new depth keep the function; pruning is silence.

The tolerance is 1e-10 in float64: an edit adds exact zeros or halves exactly, so that only the
order of sums differs, and the models are shallow. Each law names what may be refused: a build that
refuses more keeps no law.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from structure_net.graph import graph_of
from structure_net.graph.channels import ChannelGroup, Role
from structure_net.surgery import (
    AddHeads,
    AddNeurons,
    AddResidualBlock,
    AddSkipConnection,
    DoubleWidth,
    Edit,
    InsertLayer,
    MaskHeads,
    RemoveNeurons,
    ReviveHeads,
    SplitNeurons,
    apply,
)
from tests.laws.subjects import (
    LAWFUL,
    editable,
    example,
    examples,
    group_of,
    refusal,
    run,
    subject,
)
from tests.zoo.attempts import silence_inputs

ACTIVATIONS = ["relu", "gelu", "tanh", "silu", "elu", "leaky_relu", "sigmoid", "identity"]
NOTHING: tuple[str, ...] = ()
DEPTH = (
    "returns a tuple; a module can be put behind a layer that returns one tensor",
    # Parts of an attention, which reads their weights itself.
    "The model has no layer '.*in_proj'",
    "The model never calls '.*out_proj': it reads the layer's weights",
)
SKIPS = (
    *DEPTH,
    r"runs \d times in a forward pass; a skip connection needs layers that run once",
    "they must agree but for the channels and have these on the same axis",
)
HEADS = ("It is not clear which layer reads the heads of '.*'; candidates",)


def check_same(
    name: str, model: nn.Module, edits: Sequence[Edit], refusable: Sequence[str] = NOTHING
) -> bool:
    """Applies the edits and compares on another batch size; no refusal but a named one.

    Returns:
        Whether all were carried out.
    """
    inputs, done = example(name, 3, 1), True
    before = run(model, inputs)
    for edit in edits:
        refused = refusal(lambda edit=edit: apply(model, edit, example(name)))
        if refused is not None:
            assert any(re.search(pattern, refused) for pattern in refusable), refused
            done = False
            break
    for old, new in zip(before, run(model, inputs), strict=True):
        torch.testing.assert_close(new, old, rtol=0, atol=1e-10)
    return done


def drawn(data: st.DataObject, name: str) -> tuple[nn.Module, str, ChannelGroup]:
    """A fresh copy of a model, one of its editable layers, and what moves with it."""
    model, layer = subject(name), data.draw(st.sampled_from(editable(name)))
    return model, layer, group_of(model, name, layer)


def channels(group: ChannelGroup, units: set[int]) -> tuple[int, ...]:
    return tuple(channel for unit in units for channel in group.channels[unit])


@pytest.mark.parametrize("name", LAWFUL)
@examples(6)
@given(data=st.data(), units=st.integers(1, 5), more=st.integers(0, 2))
def test_growth_preserves_the_function(name: str, data: Any, units: int, more: int) -> None:
    model, layer, group = drawn(data, name)
    edits = [AddNeurons(layer, group.granularity * count) for count in (units, more) if count]
    check_same(name, model, edits, [re.escape(group.refusal)] if group.refusal else NOTHING)


@pytest.mark.parametrize("name", LAWFUL)
@examples(6)
@given(data=st.data())
def test_splits_preserve_the_function(name: str, data: Any) -> None:
    model, layer, group = drawn(data, name)
    if not (group.normalised or group.doubling_refusal):
        units = data.draw(st.sets(st.integers(0, group.units - 1), min_size=1))
        check_same(name, model, [SplitNeurons(layer, channels(group, units))])


@pytest.mark.parametrize("name", LAWFUL)
def test_doubling_preserves_the_function(name: str) -> None:
    for layer in editable(name):
        model = subject(name)
        refused = group_of(model, name, layer).doubling_refusal
        check_same(name, model, [DoubleWidth(layer)], [re.escape(refused)] if refused else NOTHING)


@pytest.mark.parametrize("name", LAWFUL)
@examples(3)
@given(
    data=st.data(),
    activation=st.sampled_from(ACTIVATIONS),
    width=st.sampled_from([None, 1, 2, 3]),
)
def test_new_depth_preserves_the_function(
    name: str, data: Any, activation: str, width: int | None
) -> None:
    layer = data.draw(st.sampled_from(editable(name)))
    for kind in (InsertLayer, AddResidualBlock):
        edit = kind(layer, width, activation)
        check_same(name, subject(name), [edit, edit], DEPTH)


@pytest.mark.parametrize("name", LAWFUL)
@examples(4)
@given(data=st.data())
def test_skip_connections_preserve_the_function(name: str, data: Any) -> None:
    model = subject(name)
    known = graph_of(model, example(name)).layers
    target = data.draw(st.integers(1, len(known) - 1))
    source = data.draw(st.integers(0, target - 1))
    check_same(name, model, [AddSkipConnection(known[source], known[target])], SKIPS)


@pytest.mark.parametrize("name", LAWFUL)
@examples(6)
@given(data=st.data())
def test_pruning_equals_outgoing_weights_of_zero(name: str, data: Any) -> None:
    model, layer, group = drawn(data, name)
    if group.normalised or group.units < 2:
        return
    gone = data.draw(st.sets(st.integers(0, group.units - 1), min_size=1, max_size=group.units - 1))
    silence(model, group, gone)
    check_same(name, model, [RemoveNeurons(layer, channels(group, gone))])


@torch.no_grad()
def silence(model: nn.Module, group: ChannelGroup, gone: set[int]) -> None:
    """Sets the outgoing weights of some units to zero."""
    tensors = dict(model.named_parameters())
    for axis in group.axes:
        if axis.role is Role.READS:
            source = [-1 if unit in gone else unit for unit in range(group.units)]
            entries = torch.tensor([i for i, old in enumerate(axis.lift(source)) if old < 0])
            if axis.leaf:
                silence_inputs(model.get_submodule(axis.tensor), entries)
            else:
                tensors[axis.tensor].index_fill_(axis.dim, entries, 0.0)


@pytest.mark.parametrize("name", LAWFUL)
def test_heads_grow_and_come_back_without_moving_the_function(name: str) -> None:
    came_back = []
    for layer in editable(name):
        group = group_of(subject(name), name, layer)
        if group.heads:
            known = [re.escape(group.refusal)] if group.refusal else NOTHING
            check_same(name, subject(name), [AddHeads(layer, 2)], known)
            back = [MaskHeads(layer, (0,)), ReviveHeads(layer, (0,))]
            came_back.append(check_same(name, subject(name), back, HEADS))
    assert any(came_back) or not came_back
