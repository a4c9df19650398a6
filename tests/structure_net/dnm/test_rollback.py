from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch.optim import SGD, Adam, Optimizer

from structure_net.dnm import DNMFramework
from structure_net.errors import SurgeryError
from structure_net.surgery import AddNeurons, apply
from tests.structure_net.dnm.loops import SmallCNN, contents, feed, stalled, step


def changed(optimizer: Optimizer, model: SmallCNN, handed: bool, **config: object) -> DNMFramework:
    """A framework that is about to change its network."""
    dnm = DNMFramework(model, config, optimizer if handed else None)
    stalled(dnm, optimizer)
    return dnm


@pytest.mark.parametrize("handed", [True, False])
@pytest.mark.parametrize("kind", [Adam, SGD])
@pytest.mark.parametrize("fading", [0, 2])
def test_a_drop_takes_the_change_back_bit_for_bit(
    handed: bool, kind: type[Optimizer], fading: int
) -> None:
    model = SmallCNN()
    options = {"lr": 0.01} | ({"momentum": 0.9} if kind is SGD else {})
    optimizer = kind(model.parameters(), **options)
    config = {"max_morphogenesis_per_epoch": 2, "progressive_activation_epochs": fading}
    dnm = changed(optimizer, model, handed, **config)
    weights, state = contents(model), deepcopy(optimizer.state_dict())
    dnm.execute_morphogenesis(3)
    for epoch in range(2):
        step(model, optimizer, epoch)
        assert dnm.record_performance(0.5) == ()
    step(model, optimizer, 7)
    gone = dnm.record_performance(0.44)
    assert [event.event_type for event in gone] == ["neuron_division", "connection_growth"]
    after = contents(model)
    assert list(after) == list(weights)
    assert all(torch.equal(after[name], weights[name]) for name in weights)
    found = optimizer.state_dict()
    assert found["param_groups"] == state["param_groups"]
    assert list(found["state"]) == list(state["state"])
    for number, kept in state["state"].items():
        for name, value in kept.items():
            assert torch.equal(
                torch.as_tensor(found["state"][number][name]), torch.as_tensor(value)
            )
    step(model, optimizer, 8)


def test_a_smaller_drop_is_borne() -> None:
    model = SmallCNN()
    optimizer = Adam(model.parameters())
    dnm = changed(optimizer, model, handed=True, performance_drop_threshold=0.05)
    dnm.execute_morphogenesis(3)
    assert dnm.record_performance(0.4501) == ()
    assert dnm.events[0].performance_after == 0.4501
    assert not dnm.events[0].rolled_back
    assert len(dnm.journal.edits) >= 1


def test_the_history_goes_back_with_the_network() -> None:
    model = SmallCNN()
    optimizer = Adam(model.parameters())
    dnm = changed(optimizer, model, handed=True)
    dnm.execute_morphogenesis(3)
    dnm.record_performance(0.49)
    dnm.record_performance(0.2)
    assert dnm.performance_history == (0.5, 0.5, 0.5)
    assert dnm.events[0].performance_after == 0.49


def test_an_accuracy_that_is_not_a_number_counts_as_a_drop() -> None:
    model = SmallCNN()
    dnm = changed(Adam(model.parameters()), model, handed=True)
    dnm.execute_morphogenesis(3)
    assert dnm.record_performance(float("nan"))


def test_without_rollback_a_drop_is_only_recorded() -> None:
    model = SmallCNN()
    dnm = changed(Adam(model.parameters()), model, handed=True, rollback_enabled=False)
    dnm.execute_morphogenesis(3)
    assert dnm.record_performance(0.0) == ()
    assert dnm.performance_history[-1] == 0.0
    assert dnm.journal.edits


def test_a_change_that_has_proved_itself_stays() -> None:
    model = SmallCNN()
    optimizer = Adam(model.parameters())
    dnm = changed(
        optimizer, model, handed=True, morphogenesis_interval=2, progressive_activation_epochs=0
    )
    dnm.execute_morphogenesis(3)
    for _ in range(2):
        dnm.record_performance(0.5)
    assert dnm.record_performance(0.0) == ()


def test_a_place_that_failed_is_not_tried_again() -> None:
    model = SmallCNN()
    optimizer = Adam(model.parameters())
    dnm = changed(optimizer, model, handed=True, connection_growth=False)
    dnm.execute_morphogenesis(3)
    (gone,) = dnm.record_performance(0.1)
    feed(dnm)
    (event,) = dnm.execute_morphogenesis(9)["events"]
    assert event.location != gone.location


def test_nothing_triggers_in_the_epoch_of_a_rollback() -> None:
    model = SmallCNN()
    optimizer = Adam(model.parameters())
    dnm = changed(optimizer, model, handed=True)
    dnm.should_trigger_morphogenesis(3)
    dnm.execute_morphogenesis(3)
    dnm.record_performance(0.5)
    dnm.record_performance(0.5)
    assert dnm.record_performance(0.1)
    assert dnm.should_trigger_morphogenesis(6, {}, {"accuracy": 0.1}) == (False, [])


def test_what_was_taken_back_counts_among_the_changes() -> None:
    model = SmallCNN()
    optimizer = Adam(model.parameters())
    dnm = changed(optimizer, model, handed=True, max_architecture_changes=1)
    dnm.execute_morphogenesis(3)
    dnm.record_performance(0.1)
    feed(dnm)
    assert dnm.execute_morphogenesis(6)["events"] == []


def test_an_edit_of_somebody_elses_on_top_is_not_swept_away() -> None:
    model = SmallCNN()
    optimizer = Adam(model.parameters())
    dnm = changed(optimizer, model, handed=True, progressive_activation_epochs=0)
    (event,) = dnm.execute_morphogenesis(3)["events"]
    apply(model, AddNeurons(event.location, 2), dnm.example)
    before = contents(model)
    with pytest.raises(SurgeryError):
        dnm.record_performance(0.1)
    after = contents(model)
    assert all(torch.equal(after[name], before[name]) for name in before)
