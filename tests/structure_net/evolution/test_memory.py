from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from structure_net.errors import StructureNetError
from structure_net.evolution import (
    Analyzer,
    ComposableEvolutionSystem,
    EditingStrategy,
    GrowthStrategy,
    NetworkContext,
)
from structure_net.evolution.components import StandardNetworkTrainer
from structure_net.evolution.memory import AnalysisMemory
from structure_net.evolution.touching import held_tensors, moved, touched
from structure_net.surgery import AddNeurons, RemoveNeurons, apply
from structure_net.surgery.edits import Edit
from structure_net.surgery.entries import EditEntry, WidthChange


class Counter:
    """Counts how often each value is computed."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def of(self, name: str) -> Callable[[], int]:
        def compute() -> int:
            self.calls.append(name)
            return len(self.calls)

        return compute


def filled(memory: AnalysisMemory, owner: object, counter: Counter) -> list[int]:
    """One value of each kind."""
    return [
        memory.recall(owner, "a", counter.of("a")),
        memory.recall(owner, "b", counter.of("b")),
        memory.recall(owner, "a", counter.of("a, activations"), name="x", reads="activations"),
        memory.recall(owner, "c", counter.of("c, activations"), reads="activations"),
        memory.recall(owner, ("a", "b"), counter.of("a and b")),
        memory.recall(owner, None, counter.of("all")),
    ]


def test_a_value_is_computed_once_for_each_owner_name_and_set_of_layers() -> None:
    memory, counter = AnalysisMemory(), Counter()
    one, other = object(), object()
    first = filled(memory, one, counter)
    assert filled(memory, one, counter) == first
    assert len(counter.calls) == len(first)
    assert filled(memory, other, counter) != first


def test_training_forgets_everything() -> None:
    memory, counter, owner = AnalysisMemory(), Counter(), object()
    filled(memory, owner, counter)
    memory.trained()
    counter.calls.clear()
    filled(memory, owner, counter)
    assert len(counter.calls) == 6


@pytest.mark.parametrize(
    ("moved_layers", "again"),
    [
        (("b", "c"), ["b", "c, activations", "a and b", "all"]),
        ((), ["b", "a and b", "all"]),
        (None, ["b", "a, activations", "c, activations", "a and b", "all"]),
    ],
)
def test_an_edit_forgets_the_weights_it_touched_and_the_activations_it_moved(
    moved_layers: tuple[str, ...] | None, again: list[str]
) -> None:
    memory, counter, owner = AnalysisMemory(), Counter(), object()
    filled(memory, owner, counter)
    memory.edited({"b"}, moved_layers)
    counter.calls.clear()
    filled(memory, owner, counter)
    assert counter.calls == again


def test_notes_survive_training_and_a_fork_has_its_own() -> None:
    memory = AnalysisMemory()
    memory.notes("Mine")[3] = torch.ones(2)
    memory.recall(memory, "a", lambda: 1)
    twin = memory.fork()
    memory.trained()
    memory.notes("Mine")[3][0] = 7.0
    assert twin.notes("Mine")[3].tolist() == [1.0, 1.0]
    assert twin.recall(memory, "a", lambda: 2) == 2


@pytest.mark.parametrize("change", [AnalysisMemory.trained, lambda m: m.edited(())])
def test_a_lazy_value_is_refused_when_it_is_read_too_late(change: Any) -> None:
    memory = AnalysisMemory()
    early, late = memory.lazy(lambda: 1), memory.lazy(lambda: 2)
    assert early.get() == 1
    change(memory)
    assert early.get() == 1
    with pytest.raises(StructureNetError, match="trained or edited since"):
        late.get()


def test_without_a_memory_a_context_computes() -> None:
    context = NetworkContext(nn.Linear(2, 2), [])
    counter = Counter()
    assert context.recall(counter, "a", counter.of("a")) == 1
    assert context.recall(counter, "a", counter.of("a")) == 2
    assert context.lazy(lambda: 5).get() == 5


def test_the_layers_that_an_edit_touched_are_told_by_their_tensors() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2)]
    network = nn.Sequential(*layers)
    held = held_tensors(network)
    assert touched(held, network) == frozenset()
    apply(network, AddNeurons("2", 3), torch.randn(2, 4))
    assert touched(held, network) == {"2", "4"}
    assert touched(held, copy.deepcopy(network)) == {"0", "2", "4"}


def entry(edit: Edit, *changes: WidthChange) -> EditEntry:
    return EditEntry(edit, changes=changes)


def test_an_edit_that_keeps_the_function_moves_the_layers_that_it_widens() -> None:
    order = ["a", "b", "c", "d"]
    widened = entry(AddNeurons("b", 2), WidthChange("b", 4, 6))
    assert moved([widened], frozenset(("b", "c")), order) == ("b",)
    assert moved([widened], frozenset(("b", "new")), order) == ("b", "new")
    assert moved([widened], frozenset("b"), None) is None


def test_any_other_edit_moves_all_that_runs_later() -> None:
    order = ["a", "b", "c", "d"]
    pruned = entry(RemoveNeurons("b", (0,)), WidthChange("b", 4, 3))
    assert moved([pruned], frozenset(("c", "b")), order) == ("b", "c", "d")
    assert moved([pruned], frozenset(("norm",)), order) == ("a", "b", "c", "d")
    assert moved([pruned], frozenset(), order) == ()


class Watching(Analyzer):
    """Remembers something of each layer, and notes each iteration."""

    def __init__(self) -> None:
        self.computed: list[str] = []

    def analyze(self, context: NetworkContext) -> Mapping[str, Any]:
        for layer in ("layers.0", "layers.1", "layers.2"):
            context.recall(self, layer, lambda layer=layer: self.computed.append(layer))
        assert context.memory is not None
        notes = context.memory.notes("Watching")
        notes[context.iteration] = context.iteration
        return {"watching_before": [n for n in notes if n < context.iteration]}


class Once(EditingStrategy):
    """Wants one edit at each iteration."""

    def __init__(self, edit: Edit) -> None:
        self.edit = edit

    def propose(self, context: NetworkContext, analysis: Any) -> list[Edit]:
        return [self.edit]


class ByHand(GrowthStrategy):
    """Writes into a weight, which no journal sees."""

    def should_grow(self, context: NetworkContext, analysis: Any) -> bool:
        return True

    def grow(self, context: NetworkContext, analysis: Any) -> NetworkContext:
        with torch.no_grad():
            context.network.layers[2].weight.mul_(2)  # type: ignore[index, union-attr, operator]
        return context


@pytest.mark.parametrize(
    ("strategy", "again"),
    [
        (Once(RemoveNeurons("layers.1", (0,))), ["layers.1", "layers.2"]),
        (ByHand(), ["layers.0", "layers.1", "layers.2"]),
    ],
)
def test_a_second_look_in_an_iteration_computes_what_the_growth_touched(
    context: NetworkContext, strategy: GrowthStrategy, again: list[str]
) -> None:
    watching = Watching()
    system = ComposableEvolutionSystem([watching, strategy, Once(AddNeurons("layers.0", 1))])
    system.evolve_network(context, 1)
    assert watching.computed == ["layers.0", "layers.1", "layers.2", *again]


def test_training_makes_the_next_look_compute_everything(context: NetworkContext) -> None:
    watching = Watching()
    ComposableEvolutionSystem([watching, StandardNetworkTrainer(1)]).evolve_network(context, 2)
    assert len(watching.computed) == 6


def test_notes_go_on_in_the_next_call_and_leave_the_first_context_alone(
    context: NetworkContext,
) -> None:
    system = ComposableEvolutionSystem([Watching()])
    first = system.evolve_network(context, 2)
    assert context.memory is None
    assert system.analyze(first)["watching_before"] == [0, 1]
    system.evolve_network(first, 1)
    assert system.analyze(first)["watching_before"] == [0, 1]
    assert first.memory is not None
    assert replace(first, memory=None).fork().memory is None
