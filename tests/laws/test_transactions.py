"""Edits are transactions: planned without a trace, all or nothing, undone bit for bit."""

from contextlib import suppress

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from structure_net.graph import graph_of
from structure_net.surgery import (
    AddNeurons,
    AddResidualBlock,
    AddSkipConnection,
    DoubleWidth,
    InsertLayer,
    RemoveNeurons,
    ResetNeurons,
    SplitNeurons,
    apply,
    committing,
    operating,
    plan,
    preview,
)
from tests.laws.subjects import (
    LAWFUL,
    editable,
    example,
    examples,
    group_of,
    image,
    refusal,
    run,
    train,
    trained,
)

KINDS = st.integers(0, 6)


def first(name):
    return editable(name)[0]


def edits_of(model, name, layer):
    """One edit of every kind."""
    group = group_of(model, name, layer)
    unit = group.channels[0]
    return [
        AddNeurons(layer, group.granularity),
        DoubleWidth(layer),
        RemoveNeurons(layer, unit),
        SplitNeurons(layer, unit),
        ResetNeurons(layer, unit),
        InsertLayer(layer, None, "gelu"),
        AddResidualBlock(layer, 2),
    ]


class InjectedError(Exception):
    """What the tests throw."""


class Faulty:
    """A step that fails."""

    def apply(self) -> None:
        raise InjectedError

    def revert(self) -> None:
        raise AssertionError


@pytest.mark.parametrize("name", LAWFUL)
@examples(2)
@given(data=st.data())
def test_undo_restores_everything_bit_for_bit(name, data) -> None:
    model, optimizer = trained(name)
    before, refused = image(model, optimizer), []
    edits = edits_of(model, name, data.draw(st.sampled_from(editable(name))))
    for edit in edits:
        refused.append(
            refusal(lambda edit=edit: apply(model, edit, example(name), optimizer=optimizer).undo())
        )
        assert image(model, optimizer) == before, (edit, refused[-1])
    # Whatever a layer refuses, some of these it does not.
    assert refused.count(None) >= 2, refused


@pytest.mark.parametrize("name", LAWFUL)
def test_undo_after_training_restores_what_was_before_the_edit(name) -> None:
    layer, (model, optimizer) = first(name), trained(name)
    group = group_of(model, name, layer)
    before = image(model, optimizer)
    edit = AddNeurons(layer, group.granularity) if group.refusal is None else DoubleWidth(layer)
    done = apply(model, edit, example(name), optimizer=optimizer)
    train(model, optimizer, example(name))
    done.undo()
    after = image(model, optimizer)
    touched = {change.tensor for change in done.changes}
    assert {k: v for k, v in after.items() if k in touched} == {
        k: v for k, v in before.items() if k in touched
    }


@pytest.mark.parametrize("name", LAWFUL)
@examples(8)
@given(data=st.data(), fraction=st.floats(0, 1), kind=KINDS)
def test_an_edit_that_fails_at_any_step_leaves_no_trace(name, data, fraction, kind) -> None:
    model, optimizer = trained(name)
    edit = edits_of(model, name, data.draw(st.sampled_from(editable(name))))[kind]
    before = image(model, optimizer)

    def failing(steps):
        real = list(steps)
        at = round(fraction * len(real))
        return committing.commit([*real[:at], Faulty(), *real[at:]])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operating, "commit", failing)
        with suppress(InjectedError):
            refusal(lambda: apply(model, edit, example(name), optimizer=optimizer))
    assert image(model, optimizer) == before


@pytest.mark.parametrize("name", LAWFUL)
def test_plan_and_preview_are_pure(name) -> None:
    layer, (model, optimizer) = first(name), trained(name)
    before = image(model, optimizer)
    state = torch.get_rng_state()
    graph = graph_of(model, example(name))
    for edit in edits_of(model, name, layer)[:5]:
        refusal(lambda edit=edit: plan(edit, graph))
    for edit in edits_of(model, name, layer):
        refusal(lambda edit=edit: preview(model, edit, example(name)))
    assert image(model, optimizer) == before
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", LAWFUL)
@examples(5)
@given(data=st.data(), units=st.integers(1, 3))
def test_growing_then_pruning_restores_parameters_and_moments(name, data, units) -> None:
    model, optimizer = trained(name)
    layer = data.draw(st.sampled_from(editable(name)))
    group = group_of(model, name, layer)
    edit = AddNeurons(layer, units * group.granularity)
    before = image(model, optimizer)
    outputs = run(model, example(name))
    if group.refusal is not None:
        return
    apply(model, edit, example(name), optimizer=optimizer)
    grown = group_of(model, name, layer)
    new = tuple(c for unit in grown.channels[group.units :] for c in unit)
    apply(model, RemoveNeurons(layer, new), example(name), optimizer=optimizer)
    if group.norms:
        for old, now in zip(outputs, run(model, example(name)), strict=True):
            torch.testing.assert_close(now, old, rtol=0, atol=1e-10)
    else:
        assert image(model, optimizer) == before


@pytest.mark.parametrize("name", LAWFUL)
@examples(5)
@given(data=st.data(), kind=KINDS)
def test_optimizers_carry_on_with_every_parameter_and_no_other(name, data, kind) -> None:
    model, optimizer = trained(name)
    edit = edits_of(model, name, data.draw(st.sampled_from(editable(name))))[kind]
    kept = {id(p) for p in model.parameters()}
    if refusal(lambda: apply(model, edit, example(name), optimizer=optimizer)):
        return
    now = {id(p) for p in model.parameters()}
    assert kept <= now
    assert {id(p) for g in optimizer.param_groups for p in g["params"]} == now
    for parameter, state in optimizer.state.items():
        assert all(v.shape == parameter.shape for v in state.values() if v.dim())
    train(model, optimizer, example(name))
    assert all(p.isfinite().all() for p in model.parameters())


def edited_and_trained(name, handed):
    """The parameters after many edits and two steps."""
    model, optimizer = trained(name)
    given_to = optimizer if handed else None
    known = graph_of(model, example(name)).layers
    edits = [AddNeurons(layer, 4) for layer in known[:2]]
    edits += [InsertLayer(known[0]), AddSkipConnection(known[0], known[1])]
    for edit in edits:
        refusal(lambda edit=edit: apply(model, edit, example(name), optimizer=given_to))
    train(model, optimizer, example(name), steps=2)
    return list(model.parameters())


@pytest.mark.parametrize("name", LAWFUL)
def test_an_optimizer_that_was_not_handed_over_ends_where_one_that_was_does(name) -> None:
    given_over, left_alone = edited_and_trained(name, True), edited_and_trained(name, False)
    assert len(given_over) == len(left_alone)
    assert all(torch.equal(a, b) for a, b in zip(given_over, left_alone, strict=True))
