from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from structure_net.errors import StructureNetError, SurgeryError
from structure_net.evolution import (
    Component,
    ComposableEvolutionSystem,
    EditingStrategy,
    Event,
    EventKind,
    EveryNEpochs,
    EveryNSteps,
    GrowthStrategy,
    NetworkContext,
    Proposal,
    Trial,
)
from structure_net.evolution.components import (
    ExtremaGrowthStrategy,
    SparseEvolutionaryTraining,
    StandardExtremaAnalyzer,
    StandardNetworkTrainer,
)
from structure_net.evolution.events import Observers, hears_steps
from structure_net.evolution.history import numbers_of
from structure_net.surgery import AddConnections, AddNeurons, Edit


class Widen(EditingStrategy):
    """Two more units each time."""

    def propose(self, context: NetworkContext, analysis: Mapping[str, Any]) -> Sequence[Proposal]:
        return [Proposal(AddNeurons("0", 2), "wider")]


class Replace(GrowthStrategy):
    """Returns another network."""

    def should_grow(self, context: NetworkContext, analysis: Mapping[str, Any]) -> bool:
        return True

    def grow(self, context: NetworkContext, analysis: Mapping[str, Any]) -> NetworkContext:
        return context.fork()


def model(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))


def loop(
    network: nn.Module,
    session: Any,
    optimizer: torch.optim.Optimizer,
    context: NetworkContext,
    epochs: int,
) -> list[Event]:
    """A training loop as a user writes it."""
    events: list[Event] = []
    for _ in range(epochs):
        total = 0.0
        for inputs, targets in context.data_loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(network(inputs), targets)
            loss.backward()
            optimizer.step()
            total += loss.item()
            events += session.after_step(loss)
        events += session.after_epoch({"train_loss": total})
    return events


def test_a_users_loop_keeps_its_model_and_its_optimizer(context: NetworkContext) -> None:
    network = model()
    optimizer = torch.optim.Adam(network.parameters())
    parameters = list(network.parameters())
    system = ComposableEvolutionSystem([Widen()])
    example = torch.zeros(2, 12)
    session = system.attach(network, optimizer=optimizer, example=example)
    loop(network, session, optimizer, context, 2)
    assert network[0].weight.shape == (12, 12)
    assert all(a is b for a, b in zip(parameters, network.parameters(), strict=True))
    assert optimizer.state[network[0].weight]["exp_avg"].shape == (12, 12)
    assert [entry.edit for entry in session.context.journal.edits] == [AddNeurons("0", 2)] * 2
    assert len(session.context.history) == 2


def test_an_optimizer_that_was_not_given_follows_at_its_next_step(
    context: NetworkContext,
) -> None:
    network = model()
    optimizer = torch.optim.Adam(network.parameters())
    session = ComposableEvolutionSystem([Widen()]).attach(network, example=torch.zeros(2, 12))
    loop(network, session, optimizer, context, 2)
    session.after_epoch({})
    inputs, targets = next(iter(context.data_loader))
    F.cross_entropy(network(inputs), targets).backward()
    optimizer.step()
    assert optimizer.state[network[0].weight]["exp_avg"].shape == (14, 12)


def test_step_triggers_fire_after_their_steps_and_nowhere_else(context: NetworkContext) -> None:
    network = model()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    system = ComposableEvolutionSystem().add_component(Widen(), when=EveryNSteps(4))
    session = system.attach(network, optimizer=optimizer, example=torch.zeros(2, 12))
    events = loop(network, session, optimizer, context, 4)  # three batches each
    edited = [event for event in events if event.kind is EventKind.EDITED]
    assert [event.detail["trigger"] for event in edited] == ["step 4", "step 8", "step 12"]
    grown = session.context.journal.events("grew")
    assert [entry.detail["step"] for entry in grown] == [4, 8, 12]


def test_nothing_grows_on_a_loss_that_is_not_finite_and_observers_hear_of_it() -> None:
    network, heard = model(), list[Event]()
    system = ComposableEvolutionSystem(on_event=heard.append).add_component(
        Widen(), when=EveryNSteps(1)
    )
    session = system.attach(network, example=torch.zeros(2, 12))
    assert session.after_step(torch.tensor(float("nan"))) == ()
    assert network[0].weight.shape == (8, 12)
    told = [event for event in heard if event.kind is not EventKind.STEP_FINISHED]
    assert [(event.kind, event.detail["message"]) for event in told] == [
        (EventKind.DIVERGED, "The loss of step 1 is not finite, so that nothing grows.")
    ]


def test_steps_are_told_with_their_place_in_the_epoch(context: NetworkContext) -> None:
    network, heard = model(), list[Event]()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    system = ComposableEvolutionSystem(on_event=heard.append)
    batches = len(list(context.data_loader))
    session = system.attach(network, data_loader=context.data_loader)
    loop(network, session, optimizer, context, 2)
    steps = [event.detail for event in heard if event.kind is EventKind.STEP_FINISHED]
    assert [step["batch"] for step in steps] == [*range(1, batches + 1)] * 2
    assert {step["batches"] for step in steps} == {batches}


def test_epoch_triggers_fire_between_epochs(context: NetworkContext) -> None:
    network = model()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    system = ComposableEvolutionSystem().add_component(Widen(), when=EveryNEpochs(2))
    session = system.attach(network, optimizer=optimizer, example=torch.zeros(2, 12))
    loop(network, session, optimizer, context, 5)
    assert [e.detail["epoch"] for e in session.context.journal.events("grew")] == [2, 4]


def test_backward_through_a_graph_from_before_an_edit_is_refused(context: NetworkContext) -> None:
    network = model()
    session = ComposableEvolutionSystem([Widen()]).attach(network, example=torch.zeros(2, 12))
    inputs, targets = next(iter(context.data_loader))
    loss = F.cross_entropy(network(inputs), targets)
    session.after_epoch({})
    with pytest.raises(SurgeryError, match="before an edit"):
        loss.backward()
    # The network itself is fine.
    F.cross_entropy(network(inputs), targets).backward()


def test_another_network_is_refused_in_a_loop_that_would_not_see_it() -> None:
    session = ComposableEvolutionSystem([Replace()]).attach(model(), example=torch.zeros(2, 12))
    with pytest.raises(StructureNetError, match="Replace returned another network"):
        session.after_epoch({})


class Connect(EditingStrategy):
    def propose(self, context: NetworkContext, analysis: Mapping[str, Any]) -> Sequence[Edit]:
        pattern = context.network.layers[0].pattern  # type: ignore[index, union-attr]
        free = (~pattern.mask()).nonzero()[0].tolist()  # type: ignore[operator]
        return [AddConnections("layers.0", ((free[0], free[1]),))]


def test_only_edits_that_need_a_trace_need_an_example(context: NetworkContext) -> None:
    session = ComposableEvolutionSystem([Connect()]).attach(context.network)
    session.after_epoch({})
    assert len(session.context.journal.edits) == 1
    session = ComposableEvolutionSystem([Widen()]).attach(model())
    with pytest.raises(ValueError, match="pass `example`"):
        session.after_epoch({})


def test_analyzers_look_at_the_loader_that_the_loop_gave(context: NetworkContext) -> None:
    network = context.network
    system = ComposableEvolutionSystem([StandardExtremaAnalyzer(), ExtremaGrowthStrategy()])
    session = system.attach(network, data_loader=context.data_loader)
    events = session.after_epoch({})
    assert any(event.kind is EventKind.EDITED for event in events)
    assert session.context.network is network


def test_a_rejected_growth_leaves_everything_as_it_was(context: NetworkContext) -> None:
    network = model()
    optimizer = torch.optim.Adam(network.parameters())
    system = ComposableEvolutionSystem()
    system.add_component(Widen(), whether=Trial(batches=2, performance_drop_threshold=-0.99))
    session = system.attach(
        network,
        optimizer=optimizer,
        data_loader=context.data_loader,
        validation_loader=context.validation_loader,
    )
    inputs, targets = next(iter(context.data_loader))
    F.cross_entropy(network(inputs), targets).backward()
    optimizer.step()
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    moments = [optimizer.state[p]["exp_avg"].clone() for p in network.parameters()]
    randomness = torch.get_rng_state()
    events = session.after_epoch({})
    assert [event.kind for event in events] == [EventKind.EPOCH_FINISHED, EventKind.REJECTED]
    assert all(torch.equal(v, weights[name]) for name, v in network.state_dict().items())
    states = [optimizer.state[p]["exp_avg"] for p in network.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(states, moments, strict=True))
    assert torch.equal(torch.get_rng_state(), randomness)
    (entry,) = session.context.journal.events("rejected")
    assert entry.detail["edits"] == [str(AddNeurons("0", 2))]
    assert not session.context.journal.edits


def test_looking_does_not_change_what_training_sees(context: NetworkContext) -> None:
    rows = TensorDataset(torch.rand(32, 12), torch.randint(3, (32,)))
    shuffling = replace(context, data_loader=DataLoader(rows, 4, shuffle=True))

    def trained(*components: Component) -> list[torch.Tensor]:
        system = ComposableEvolutionSystem([*components, StandardNetworkTrainer(epochs=1)])
        torch.manual_seed(0)
        return list(system.evolve_network(shuffling, 2).network.parameters())

    for blind, seeing in zip(trained(), trained(StandardExtremaAnalyzer()), strict=True):
        assert torch.equal(blind, seeing)


def test_a_foreign_optimizer_is_refused() -> None:
    other = torch.optim.SGD(model(1).parameters(), lr=0.1)
    with pytest.raises(ValueError, match="SGD holds none of the parameters of this Sequential"):
        ComposableEvolutionSystem().attach(model(), optimizer=other)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (1.0, r"metrics must map names to numbers.* got 1\.0"),
        ({"loss": "a"}, "The metric 'loss' must be a number; got 'a'"),
        ({"loss": "3"}, "The metric 'loss' must be a number; got '3'"),
        ({"loss": torch.zeros(2)}, "The metric 'loss' must be a number; got tensor"),
    ],
)
def test_metrics_are_numbers_by_name(metrics: Any, message: str) -> None:
    session = ComposableEvolutionSystem().attach(model())
    with pytest.raises(TypeError, match=message):
        session.after_epoch(metrics)
    assert not session.context.history


def test_metrics_may_be_scalars_of_torch() -> None:
    session = ComposableEvolutionSystem().attach(model())
    metrics: dict[str, Any] = {"loss": torch.tensor(0.5)}
    session.after_epoch(metrics)
    assert numbers_of(metrics) == {"loss": 0.5}
    assert session.context.history.series("loss") == (0.5,)


@pytest.mark.parametrize("iterations", ["3", 2.0])
def test_iterations_are_whole(context: NetworkContext, iterations: Any) -> None:
    with pytest.raises(TypeError, match="num_iterations must be a whole number"):
        ComposableEvolutionSystem().evolve_network(context, iterations)


class Deaf:
    """Hears of everything but steps, unless it is asked to."""

    def __init__(self, *, hears_steps: bool) -> None:
        self.hears_steps, self.heard = hears_steps, list[Event]()

    def __call__(self, event: Event) -> None:
        self.heard.append(event)


def test_an_observer_that_hears_no_steps_is_told_of_all_else(context: NetworkContext) -> None:
    listening, deaf = Deaf(hears_steps=True), Deaf(hears_steps=False)
    for observer in (listening, deaf):
        network = model()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        system = ComposableEvolutionSystem([Widen()], on_event=observer)
        session = system.attach(network, optimizer=optimizer, example=torch.zeros(2, 12))
        loop(network, session, optimizer, context, 2)
    others = [one for one in listening.heard if one.kind is not EventKind.STEP_FINISHED]
    assert [one.kind for one in deaf.heard] == [one.kind for one in others]
    assert len(others) < len(listening.heard)


@pytest.mark.parametrize("hears", [True, False])
def test_observers_hear_of_steps_if_one_of_them_does(hears: bool) -> None:
    heard = list[Event]()
    both = Observers(Deaf(hears_steps=hears), Deaf(hears_steps=False), heard.append)
    assert both.hears_steps  # a plain function hears everything
    assert Observers(Deaf(hears_steps=hears), Deaf(hears_steps=False)).hears_steps is hears
    assert not hears_steps(None)
    both(Event(EventKind.STEP_FINISHED, 0))
    assert len(heard) == 1


def test_a_compiled_model_is_refused_when_it_is_attached() -> None:
    compiled: Any = torch.compile(model(), backend="eager")
    system = ComposableEvolutionSystem([SparseEvolutionaryTraining()])
    with pytest.raises(SurgeryError, match=r"is compiled; pass `model\._orig_mod`"):
        system.attach(compiled)
