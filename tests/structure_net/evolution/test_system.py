from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from structure_net.core import StandardSparseLayer
from structure_net.errors import MissingAnalysisError, StructureNetError, SurgeryError
from structure_net.evolution import (
    Analyzer,
    ComposableEvolutionSystem,
    Cooldown,
    EditingStrategy,
    Event,
    EventKind,
    EveryNSteps,
    GrowthStrategy,
    MetricAbove,
    NetworkContext,
    Proposal,
    Trainer,
    Trial,
)
from structure_net.evolution.components import (
    ExtremaGrowthStrategy,
    NetworkStatsAnalyzer,
    StandardExtremaAnalyzer,
    StandardNetworkTrainer,
    create_standard_evolution_system,
)
from structure_net.surgery import AddNeurons, Edit
from structure_net.surgery.lineage import architecture


class Widths(Analyzer):
    """The width of the first layer, and how often it was asked for."""

    def __init__(self) -> None:
        self.looks = 0

    def analyze(self, context: NetworkContext) -> dict[str, Any]:
        self.looks += 1
        return {"width": context.network.layers[0].out_features}  # type: ignore[index, union-attr]


class WidenTo(EditingStrategy):
    """Widens the first layer up to a width."""

    def __init__(self, width: int) -> None:
        self.width = width

    def propose(self, context: NetworkContext, analysis: Mapping[str, Any]) -> Sequence[Edit]:
        missing = self.width - analysis["width"]
        return [AddNeurons("layers.0", missing)] if missing > 0 else []


class Impossible(EditingStrategy):
    """A good edit, then one of a layer that does not exist."""

    def propose(self, context: NetworkContext, analysis: Mapping[str, Any]) -> Sequence[Proposal]:
        return [Proposal(AddNeurons("layers.0", 1)), Proposal(AddNeurons("nowhere", 1))]


class ByHand(GrowthStrategy):
    """Replaces a layer without telling anyone."""

    def should_grow(self, context: NetworkContext, analysis: dict[str, Any]) -> bool:
        return context.iteration == 0

    def grow(self, context: NetworkContext, analysis: dict[str, Any]) -> NetworkContext:
        layers = context.network.layers
        layers[2] = nn.Linear(layers[2].in_features, 3)  # type: ignore[index, operator]
        return context


class AddsByHand(GrowthStrategy):
    """Puts a layer of its own behind the first one."""

    def should_grow(self, context: NetworkContext, analysis: dict[str, Any]) -> bool:
        return context.iteration == 0

    def grow(self, context: NetworkContext, analysis: dict[str, Any]) -> NetworkContext:
        layers = context.network.layers
        layers[0] = nn.Sequential(layers[0], nn.Linear(16, 16))  # type: ignore[index, operator]
        return context


class Forgetful(GrowthStrategy):
    def should_grow(self, context: NetworkContext, analysis: dict[str, Any]) -> bool:
        return True

    def grow(self, context: NetworkContext, analysis: dict[str, Any]) -> NetworkContext:
        return None  # type: ignore[return-value]


class Interrupted(Trainer):
    def train(self, context: NetworkContext) -> NetworkContext:
        raise KeyboardInterrupt


def weights(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(a: nn.Module, b: nn.Module) -> bool:
    first, second = weights(a), weights(b)
    return list(first) == list(second) and all(torch.equal(first[k], second[k]) for k in first)


def kinds(events: Sequence[Event]) -> list[EventKind]:
    return [event.kind for event in events]


def test_the_input_context_stays_as_it_was(context: NetworkContext) -> None:
    before, shape = weights(context.network), architecture(context.network)
    evolved = create_standard_evolution_system(1).evolve_network(context, 2)
    assert architecture(context.network) == shape
    assert all(torch.equal(v, before[k]) for k, v in context.network.state_dict().items())
    assert (len(context.history), len(context.journal), context.iteration) == (0, 0, 0)
    assert evolved.iteration == 2
    assert len(evolved.history) == 2
    assert architecture(evolved.network)["connections"] > shape["connections"]


def test_the_same_seed_gives_the_same_journal_and_the_same_weights(
    context: NetworkContext,
) -> None:
    first = create_standard_evolution_system(1).evolve_network(context, 3)
    second = create_standard_evolution_system(1).evolve_network(context, 3)
    assert first.journal == second.journal
    assert first.history == second.history
    assert same(first.network, second.network)
    other = create_standard_evolution_system(1).evolve_network(replace(context, seed=1), 3)
    assert other.journal != first.journal


def test_evolving_in_parts_equals_evolving_at_once(context: NetworkContext) -> None:
    system = ComposableEvolutionSystem([StandardExtremaAnalyzer()])
    system.add_component(ExtremaGrowthStrategy(patch_size=2), when=Cooldown(epochs=2))
    system.add_component(ExtremaGrowthStrategy(patch_size=1), when=EveryNSteps(4))
    system.add_component(StandardNetworkTrainer(1))
    whole = system.evolve_network(context, 4)
    parts = context
    for _ in range(4):
        parts = system.evolve_network(parts, 1)
    assert whole.journal == parts.journal
    assert len(whole.journal.edits) > 2
    assert whole.history == parts.history
    assert same(whole.network, parts.network)


def test_analyzers_look_again_after_growth_and_only_then(context: NetworkContext) -> None:
    look = Widths()
    system = ComposableEvolutionSystem([look, WidenTo(20), WidenTo(20), WidenTo(22)])
    evolved = system.evolve_network(context, 1)
    # Once for the first strategy, once after it grew; the second does nothing, the third grows.
    assert look.looks == 2
    assert [entry.edit for entry in evolved.journal.edits] == [
        AddNeurons("layers.0", 4),
        AddNeurons("layers.0", 2),
    ]


def test_a_strategy_that_is_not_due_costs_no_look(context: NetworkContext) -> None:
    look = Widths()
    system = ComposableEvolutionSystem([look])
    system.add_component(WidenTo(20), when=MetricAbove("train_loss", 0.0))
    evolved = system.evolve_network(context, 1)
    assert look.looks == 0
    assert not evolved.journal.edits


def test_a_system_of_analyzers_alone_reports_and_changes_nothing(context: NetworkContext) -> None:
    events: list[Event] = []
    system = ComposableEvolutionSystem([NetworkStatsAnalyzer(), StandardExtremaAnalyzer()])
    evolved = system.evolve_network(context, 1, on_event=events.append)
    assert kinds(events) == [
        EventKind.ITERATION_STARTED,
        EventKind.ANALYZED,
        EventKind.ITERATION_FINISHED,
    ]
    assert events[1].detail["analysis"]["extrema_dead"]["layers.0"] == tuple(range(8))
    assert same(evolved.network, context.network)


def test_a_system_without_a_trainer_or_without_anything_is_valid(context: NetworkContext) -> None:
    grown = ComposableEvolutionSystem([Widths(), WidenTo(20)]).evolve_network(context, 1)
    assert grown.network.layers[0].out_features == 20  # type: ignore[index, union-attr]
    same_again = ComposableEvolutionSystem().evolve_network(context, 3)
    assert same(same_again.network, context.network)
    assert same_again.iteration == 3


def test_events_tell_the_whole_story_in_order(context: NetworkContext) -> None:
    events: list[Event] = []
    system = ComposableEvolutionSystem([Widths(), WidenTo(20), StandardNetworkTrainer(2)])
    evolved = system.evolve_network(context, 1, on_event=events.append)
    assert EventKind.STEP_FINISHED in kinds(events)
    events = [event for event in events if event.kind is not EventKind.STEP_FINISHED]
    assert kinds(events) == [
        EventKind.ITERATION_STARTED,
        EventKind.ANALYZED,
        EventKind.EDITED,
        EventKind.EPOCH_FINISHED,
        EventKind.EPOCH_FINISHED,
        EventKind.ITERATION_FINISHED,
    ]
    edited, finished = events[2], events[-1]
    assert edited.component == "WidenTo"
    assert edited.detail["edit"] == AddNeurons("layers.0", 4)
    assert [(c.layer, c.before, c.after) for c in edited.detail["changes"]] == [
        ("layers.0", 16, 20)
    ]
    assert finished.detail["context"].iteration == 1
    assert finished.detail["context"].history == evolved.history
    assert finished.iteration == 0


def test_an_opaque_growth_is_noted_with_the_architecture_before_and_after(
    context: NetworkContext,
) -> None:
    system = ComposableEvolutionSystem([StandardNetworkTrainer(1), ByHand()])
    trained = StandardNetworkTrainer(1).train(context)
    evolved = system.evolve_network(trained, 2)
    (entry,) = evolved.journal.events("opaque")
    assert entry.component == "ByHand"
    assert entry.detail["before"]["layers"]["layers.2"]["kind"] == "StandardSparseLayer"
    assert entry.detail["after"]["layers"]["layers.2"]["kind"] == "Linear"
    # The optimizer of the layer that is gone would train nothing: a new one was made.
    assert evolved.optimizer is not None
    held = {id(p) for group in evolved.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in evolved.network.parameters()}


def test_what_was_added_by_hand_is_trained(context: NetworkContext) -> None:
    trained = StandardNetworkTrainer(1).train(context)
    system = ComposableEvolutionSystem([AddsByHand(), StandardNetworkTrainer(1)])
    evolved = system.evolve_network(trained, 1)
    assert evolved.optimizer is not None
    assert evolved.network.layers[0][1].weight in evolved.optimizer.state  # type: ignore[index]


def test_parameters_that_the_optimizer_never_held_stay_out_of_it(
    context: NetworkContext,
) -> None:
    layers = context.network.layers
    optimizer = torch.optim.Adam(layers[1].parameters())  # type: ignore[index, union-attr]
    context = replace(context, optimizer=optimizer)
    system = ComposableEvolutionSystem([Widths(), WidenTo(20), StandardNetworkTrainer(1)])
    evolved = system.evolve_network(context, 1)
    assert evolved.optimizer is not None
    held = {id(p) for group in evolved.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in evolved.network.layers[1].parameters()}  # type: ignore[index]


def test_a_missing_metric_names_the_strategy(context: NetworkContext) -> None:
    system = ComposableEvolutionSystem([ExtremaGrowthStrategy()])
    with pytest.raises(MissingAnalysisError, match="ExtremaGrowthStrategy needs 'extrema_dead'"):
        system.evolve_network(context, 1)
    with pytest.raises(MissingAnalysisError, match="WidenTo needs 'width'"):
        ComposableEvolutionSystem([WidenTo(20)]).evolve_network(context, 1)


def test_two_analyzers_with_one_key_are_an_error(context: NetworkContext) -> None:
    with pytest.raises(StructureNetError, match="'width', which Widths already provides"):
        ComposableEvolutionSystem([Widths(), Widths()]).analyze(context)


def test_growth_is_all_or_nothing(context: NetworkContext) -> None:
    context = replace(context, optimizer=torch.optim.Adam(context.network.parameters()))
    before, entries = weights(context.network), len(context.journal)
    with pytest.raises(SurgeryError, match="nowhere"):
        Impossible().grow(context, {})
    assert all(torch.equal(v, before[k]) for k, v in context.network.state_dict().items())
    assert len(context.journal) == entries


def test_ctrl_c_is_held_back_until_an_edit_is_done_and_noted(context: NetworkContext) -> None:
    class Pressed(EditingStrategy):
        def propose(self, context: NetworkContext, analysis: object) -> Sequence[Edit]:
            os.kill(os.getpid(), signal.SIGINT)
            return [AddNeurons("layers.0", 4)]

        def should_grow(self, context: NetworkContext, analysis: object) -> bool:
            return True

    events: list[Event] = []
    system = ComposableEvolutionSystem([Pressed(), StandardNetworkTrainer(1)])
    with pytest.raises(KeyboardInterrupt):
        system.evolve_network(context, 1, on_event=events.append)
    assert kinds(events)[-2:] == [EventKind.EDITED, EventKind.INTERRUPTED]
    left = events[-1].detail["context"]
    assert left.network.layers[0].out_features == 20
    assert [entry.edit for entry in left.journal.edits] == [AddNeurons("layers.0", 4)]
    assert len(left.journal.events("grew")) == 1


def test_an_interrupted_run_hands_out_what_it_has(context: NetworkContext) -> None:
    events: list[Event] = []
    system = ComposableEvolutionSystem([StandardNetworkTrainer(1), Interrupted()])
    with pytest.raises(KeyboardInterrupt):
        system.evolve_network(context, 1, on_event=events.append)
    assert kinds(events)[-1] is EventKind.INTERRUPTED
    left = events[-1].detail["context"]
    assert len(left.history) == 1
    StandardNetworkTrainer(1).train(left)


def test_proposals_can_be_seen_without_carrying_them_out(context: NetworkContext) -> None:
    before = weights(context.network)
    system = create_standard_evolution_system(1)
    proposed = system.propose(context)
    assert proposed[0][0] == "ExtremaGrowthStrategy"
    assert proposed[0][1] == "revive 8 dead units of 16"
    assert all(torch.equal(v, before[k]) for k, v in context.network.state_dict().items())
    assert len(context.journal) == 0
    evolved = system.evolve_network(context, 1)
    assert [edit for _, _, edit in proposed] == [entry.edit for entry in evolved.journal.edits]


def test_a_trial_within_a_system_decides_what_is_kept(context: NetworkContext) -> None:
    events: list[Event] = []
    system = ComposableEvolutionSystem([Widths(), StandardNetworkTrainer(1)])
    system.add_component(WidenTo(20), whether=Trial(batches=1, performance_drop_threshold=-0.99))
    evolved = system.evolve_network(context, 1, on_event=events.append)
    (rejected,) = [event for event in events if event.kind is EventKind.REJECTED]
    assert rejected.detail["edits"] == (AddNeurons("layers.0", 4),)
    plain = ComposableEvolutionSystem([StandardNetworkTrainer(1)]).evolve_network(context, 1)
    assert same(evolved.network, plain.network)


@pytest.mark.parametrize(
    ("component", "options", "message"),
    [
        ("text", {}, "got 'text'"),
        (StandardNetworkTrainer, {}, "pass an instance"),
        (NetworkStatsAnalyzer(), {"when": Cooldown()}, "NetworkStatsAnalyzer is none"),
        (Forgetful(), {"when": 2}, "`when` must be Trigger or None; got 2"),
        (Forgetful(), {"whether": "x"}, "`whether` must be Acceptance or None; got 'x'"),
    ],
)
def test_what_is_no_component_is_refused(
    component: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        ComposableEvolutionSystem().add_component(component, **options)


def test_a_strategy_must_return_a_context(context: NetworkContext) -> None:
    with pytest.raises(TypeError, match=r"Forgetful\.grow must return a NetworkContext"):
        ComposableEvolutionSystem([Forgetful()]).evolve_network(context, 1)


def test_a_negative_number_of_iterations_is_refused(context: NetworkContext) -> None:
    with pytest.raises(ValueError, match="0 or more; got -1"):
        ComposableEvolutionSystem().evolve_network(context, -1)


def test_the_layers_stay_sparse_layers(context: NetworkContext) -> None:
    evolved = create_standard_evolution_system(1).evolve_network(context, 2)
    layers = evolved.network.layers
    assert all(isinstance(layer, StandardSparseLayer) for layer in layers)  # type: ignore[union-attr]


class Proposes(EditingStrategy):
    """Returns what it was given."""

    def __init__(self, said: Any) -> None:
        self.said = said

    def propose(self, context: NetworkContext, analysis: Mapping[str, Any]) -> Any:
        return self.said


class Finds(Analyzer):
    """Returns no mapping."""

    def analyze(self, context: NetworkContext) -> Any:
        return 3


@pytest.mark.parametrize(
    ("component", "message"),
    [
        (Proposes(None), r"Proposes\.propose must return a sequence of edits.*got None"),
        (Proposes(["AddNeurons"]), r"Proposes\.propose must return edits.*got 'AddNeurons'"),
        (Finds(), r"Finds\.analyze must return a mapping.*got 3"),
    ],
)
def test_what_a_component_returns_is_checked(
    context: NetworkContext, component: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        ComposableEvolutionSystem([component]).evolve_network(context, 1)
