"""Growth, copies and new depth keep the function; pruning is silence.

The tolerance is 1e-10 in float64: an edit adds exact zeros or halves exactly, so that only the
order of sums differs, and the models are shallow.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from structure_net.graph import graph_of
from structure_net.graph.channels import Role
from structure_net.surgery import (
    AddHeads,
    AddNeurons,
    AddResidualBlock,
    AddSkipConnection,
    DoubleWidth,
    InsertLayer,
    MaskHeads,
    RemoveNeurons,
    ReviveHeads,
    SplitNeurons,
    apply,
)
from tests.laws.subjects import LAWFUL, example, group_of, layers, refusal, run, subject

LAYERS = layers()
ACTIVATIONS = ["relu", "gelu", "tanh", "silu", "elu", "leaky_relu", "sigmoid", "identity"]


def check_same(name, model, edits) -> None:
    """Applies the edits, unless one is refused, and compares on another batch size."""
    inputs = example(name, 3, 1)
    before = run(model, inputs)
    for edit in edits:
        if refusal(lambda edit=edit: apply(model, edit, example(name))):
            return
    for old, new in zip(before, run(model, inputs), strict=True):
        torch.testing.assert_close(new, old, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("name", "layer"), LAYERS)
@given(units=st.integers(1, 5), more=st.integers(0, 2))
def test_growth_preserves_the_function(name, layer, units, more) -> None:
    model = subject(name)
    group = group_of(model, name, layer)
    edits = [AddNeurons(layer, group.granularity * units)]
    if more:
        edits.append(AddNeurons(layer, group.granularity * more))
    check_same(name, model, edits)


@pytest.mark.parametrize(("name", "layer"), LAYERS)
@given(data=st.data())
def test_splits_preserve_the_function(name, layer, data) -> None:
    model = subject(name)
    group = group_of(model, name, layer)
    if group.normalised or group.doubling_refusal:
        return
    units = data.draw(st.sets(st.integers(0, group.units - 1), min_size=1))
    indices = tuple(channel for unit in units for channel in group.channels[unit])
    check_same(name, model, [SplitNeurons(layer, indices)])


@pytest.mark.parametrize(("name", "layer"), LAYERS)
def test_doubling_preserves_the_function(name, layer) -> None:
    model = subject(name)
    if group_of(model, name, layer).doubling_refusal is None:
        check_same(name, model, [DoubleWidth(layer)])


@pytest.mark.parametrize(("name", "layer"), LAYERS)
@given(activation=st.sampled_from(ACTIVATIONS), width=st.sampled_from([None, 1, 2, 3]))
def test_new_depth_preserves_the_function(name, layer, activation, width) -> None:
    for edit in (
        InsertLayer(layer, width, activation),
        AddResidualBlock(layer, width, activation),
    ):
        check_same(name, subject(name), [edit, edit])


@pytest.mark.parametrize("name", LAWFUL)
@given(data=st.data())
def test_skip_connections_preserve_the_function(name, data) -> None:
    model = subject(name)
    known = graph_of(model, example(name)).layers
    source = data.draw(st.integers(0, len(known) - 1))
    target = data.draw(st.integers(0, len(known) - 1))
    check_same(name, model, [AddSkipConnection(known[source], known[target])])


@pytest.mark.parametrize(("name", "layer"), LAYERS)
@given(data=st.data())
def test_pruning_equals_outgoing_weights_of_zero(name, layer, data) -> None:
    model = subject(name)
    group = group_of(model, name, layer)
    if group.normalised or group.units < 2:
        return
    gone = data.draw(st.sets(st.integers(0, group.units - 1), min_size=1, max_size=group.units - 1))
    if any(axis.leaf for axis in group.axes):
        return
    tensors = dict(model.named_parameters())
    with torch.no_grad():
        for axis in group.axes:
            if axis.role is Role.READS:
                kept = set(axis.lift([u for u in range(group.units) if u not in gone]))
                entries = [i for i in range(tensors[axis.tensor].shape[axis.dim]) if i not in kept]
                tensors[axis.tensor].index_fill_(axis.dim, torch.tensor(entries), 0.0)
    indices = tuple(channel for unit in gone for channel in group.channels[unit])
    check_same(name, model, [RemoveNeurons(layer, indices)])


@pytest.mark.parametrize(("name", "layer"), layers(lambda graph, layer: graph.group(layer).heads))
def test_heads_grow_and_come_back_without_moving_the_function(name, layer) -> None:
    model = subject(name)
    check_same(name, model, [AddHeads(layer, 2)])
    if not refusal(lambda: apply(subject(name), MaskHeads(layer, (0,)), example(name))):
        check_same(name, subject(name), [MaskHeads(layer, (0,)), ReviveHeads(layer, (0,))])
