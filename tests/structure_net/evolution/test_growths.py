"""Triggers count the growths of the strategy that they stand beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import nn

from structure_net.evolution import (
    ComposableEvolutionSystem,
    Cooldown,
    EditingStrategy,
    EveryNEpochs,
    EveryNSteps,
    MaxEvents,
    NetworkContext,
    Plateau,
    Progress,
    TrainingHistory,
    part_from_dict,
    part_to_dict,
)
from structure_net.evolution.components import FadeInStrategy, StandardNetworkTrainer
from structure_net.evolution.growths import (
    CONTINUED,
    GREW,
    Grower,
    Growths,
    growers,
    growth_event,
    growths_of,
    kind_of_growth,
    lived,
)
from structure_net.evolution.session import EvolutionSession
from structure_net.evolution.triggers.interface import Whose, check_whose
from structure_net.surgery import (
    AddNeurons,
    Edit,
    EditEntry,
    Journal,
    ShareNeurons,
    SplitNeurons,
)


class Widen(EditingStrategy):
    """One unit more in a layer."""

    def __init__(self, layer: str) -> None:
        self.layer = layer

    def propose(self, context: NetworkContext, analysis: Mapping[str, Any]) -> Sequence[Edit]:
        return [AddNeurons(self.layer, 1)]


class Split(EditingStrategy):
    """Splits the first unit; the copy has no readers yet."""

    def propose(self, context: NetworkContext, analysis: Mapping[str, Any]) -> Sequence[Edit]:
        return [SplitNeurons("0", (0,), share=0.0)]


class Other(Widen):
    """The same under another name."""


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))


def lived_through(system: ComposableEvolutionSystem, epochs: int, steps: int = 2) -> Journal:
    """The journal of a loop that takes steps and does not train: what counts is the count."""
    session = system.attach(network(), example=torch.zeros(2, 12))
    for _ in range(epochs):
        for _ in range(steps):
            session.after_step(samples=10)
        session.after_epoch({"validation_loss": 1.0})
    return session.context.journal


def epochs_of(journal: Journal, name: str, layer: str = "0") -> list[int]:
    """When a strategy grew a layer."""
    grown: list[int] = []
    layers: set[tuple[str, str]] = set()
    for entry in journal:
        if isinstance(entry, EditEntry):
            layers.add((entry.component, getattr(entry.edit, "layer", "")))
        elif entry.kind == GREW:
            grown += [entry.detail["epoch"]] * ((name, layer) in layers)
            layers = set()
    return grown


def test_two_strategies_with_a_cooldown_each_do_not_silence_one_another() -> None:
    system = ComposableEvolutionSystem()
    system.add_component(Widen("0"), when=Cooldown(epochs=2))
    system.add_component(Other("2"), when=Cooldown(epochs=3))
    journal = lived_through(system, 9)
    assert epochs_of(journal, "Widen") == [2, 4, 6, 8]
    assert epochs_of(journal, "Other", "2") == [3, 6, 9]


def test_a_cooldown_of_all_keeps_strategies_apart() -> None:
    system = ComposableEvolutionSystem()
    system.add_component(Widen("0"), when=Cooldown(epochs=2, of="all"))
    system.add_component(Other("2"), when=Cooldown(epochs=3, of="all"))
    journal = lived_through(system, 9)
    assert epochs_of(journal, "Widen") == [2, 4, 6, 8]
    assert epochs_of(journal, "Other", "2") == []


def test_strategies_of_one_class_are_told_apart() -> None:
    system = ComposableEvolutionSystem()
    system.add_component(Widen("0"), when=Cooldown(epochs=2))
    system.add_component(Widen("2"), when=EveryNEpochs(1) & MaxEvents(2))
    journal = lived_through(system, 6)
    assert epochs_of(journal, "Widen", "0") == [2, 4, 6]
    assert epochs_of(journal, "Widen", "2") == [1, 2]
    assert growers(["Widen", "Other", "Widen"]) == (
        Grower("Widen"),
        Grower("Other"),
        Grower("Widen", 2),
    )


def test_growths_and_samples_are_counted_by_strategy_too() -> None:
    system = ComposableEvolutionSystem()
    system.add_component(Widen("0"), when=EveryNEpochs(1))
    system.add_component(Other("2"), when=EveryNSteps(1, min_samples=60) & MaxEvents(2))
    journal = lived_through(system, 9)
    told = [e for e in journal.events(GREW) if e.component == "Other"]
    assert [(event.detail["step"], event.detail["samples"]) for event in told] == [
        (6, 60),
        (12, 120),
    ]


def test_a_plateau_waits_for_ones_own_growth_alone_unless_it_is_told_to() -> None:
    cases: list[tuple[Whose, list[int]]] = [("own", [3, 6]), ("all", [])]
    for of, expected in cases:
        system = ComposableEvolutionSystem()
        system.add_component(Widen("0"), when=EveryNEpochs(1))
        system.add_component(Other("2"), when=Plateau(patience=2, of=of))
        assert epochs_of(lived_through(system, 6), "Other", "2") == expected


@pytest.mark.parametrize("of", ["own", "all"])
def test_copies_that_fade_in_reset_no_cooldown_and_count_as_no_growth(of: Whose) -> None:
    system = ComposableEvolutionSystem()
    system.add_component(FadeInStrategy(6))
    system.add_component(Split(), when=Cooldown(epochs=3, of=of) & MaxEvents(2, of=of))
    journal = lived_through(system, 9)
    assert epochs_of(journal, "Split") == [3, 6]
    assert {event.component for event in journal.events(GREW)} == {"Split"}
    assert [event.detail["epoch"] for event in journal.events(CONTINUED)] == [4, 5, 6, 7, 8, 9]


def test_what_carries_on_is_told_by_its_edits() -> None:
    share, more = ShareNeurons("0", ((0, 1),), 0.5), AddNeurons("0", 1)
    entries = [EditEntry(edit, 0, "x") for edit in (share, more)]
    assert kind_of_growth(entries[:1]) == CONTINUED
    assert kind_of_growth(entries) == GREW
    assert kind_of_growth([]) == GREW  # by hand


def test_a_resumed_run_counts_on_as_an_uninterrupted_one(context: NetworkContext) -> None:
    system = ComposableEvolutionSystem([StandardNetworkTrainer(1, 0.01)])
    system.add_component(Widen("0"), when=Cooldown(epochs=2) & MaxEvents(2))
    system.add_component(Widen("2"), when=Cooldown(epochs=3))
    system.add_component(FadeInStrategy(4))
    system.add_component(Split(), when=Cooldown(epochs=4, of="all") | EveryNEpochs(5))
    start = NetworkContext(network(), context.data_loader, example=torch.zeros(2, 12))
    whole = system.evolve_network(start, 8)
    for cut in range(1, 8):
        parts = system.evolve_network(system.evolve_network(start, cut), 8 - cut)
        assert parts.journal == whole.journal
    assert [e.detail.get("nth") for e in whole.journal.events(GREW) if e.component == "Widen"] == [
        None,
        2,
        None,
        2,
    ]


def test_growths_are_read_from_the_journal_as_it_is_stored() -> None:
    when = [{"epoch": n, "step": 10 * n, "samples": s} for n, s in ((1, 5), (2, None), (3, 9))]
    journal = Journal(
        [
            growth_event(GREW, Grower("A"), 0, when[0]),
            growth_event(GREW, Grower("A", 2), 0, when[1]),
            growth_event(CONTINUED, Grower("A"), 0, when[2]),
        ]
    )
    found = growths_of(Journal.from_json(journal.to_json()))
    assert found == {
        Grower("A"): Growths(1, 1, 10, 5),
        Grower("A", 2): Growths(1, 2, 20, None),
        None: Growths(2, 2, 20, None),
    }
    assert found[Grower("A")].since(12) == 7
    assert found[Grower("A", 2)].since(12) is None
    past = lived(network(), journal)
    assert (past.entries, past.growths, past.parameters) == (3, found, 87)


def test_the_progress_of_all_is_ones_own_where_nobody_else_is() -> None:
    progress = Progress(TrainingHistory(), growths=1)
    assert progress.counted("all") is progress
    both = Progress(TrainingHistory(), of_all=progress)
    assert (both.counted("own").growths, both.counted("all").growths) == (0, 1)


def test_other_growths_than_own_and_all_are_refused_and_the_choice_is_stored() -> None:
    for make in (Cooldown, Plateau, lambda of: MaxEvents(1, of), lambda of: EveryNSteps(1, 0, of)):
        with pytest.raises(ValueError, match="of must be 'own' or 'all'; got 'others'"):
            make(of="others")  # type: ignore[arg-type] # the mistake
        trigger = make(of="all")
        assert part_from_dict(part_to_dict(trigger)) == trigger
    check_whose("own")


def test_a_session_tells_each_trigger_its_own_progress() -> None:
    seen: dict[str, list[tuple[int, int]]] = {"Widen": [], "Other": []}

    class Watching(EveryNEpochs):
        name = ""

        def due(self, progress: Progress) -> str | None:
            assert progress.of_all is not None
            seen[self.name].append((progress.growths, progress.of_all.growths))
            return super().due(progress)

    class First(Watching):
        name = "Widen"

    class Second(Watching):
        name = "Other"

    system = ComposableEvolutionSystem()
    system.add_component(Widen("0"), when=First(1))
    system.add_component(Other("2"), when=Second(2))
    session: EvolutionSession = system.attach(network(), example=torch.zeros(2, 12))
    for _ in range(3):
        session.after_epoch({})
    assert seen == {"Widen": [(0, 0), (1, 1), (2, 3)], "Other": [(0, 0), (0, 1), (1, 3)]}
