from __future__ import annotations

import pytest
import torch

from structure_net.evolution import ComposableEvolutionSystem, NetworkContext
from structure_net.evolution.components import StandardNetworkTrainer
from structure_net.models import (
    PHASE,
    GrowthPhase,
    PhaseGrowth,
    coarse_to_fine,
    create_multi_scale_network,
    evolve_in_phases,
    phase_growth,
)
from structure_net.surgery import architecture, replay
from structure_net.surgery.entries import START
from structure_net.testing import example_context


def start() -> NetworkContext:
    return example_context()


def short() -> tuple[GrowthPhase, ...]:
    return coarse_to_fine(epochs=(2, 1, 1), iterations=(2, 2, 1), learning_rate=0.01)


def weights(context: NetworkContext) -> list[torch.Tensor]:
    return [parameter.detach() for parameter in context.network.parameters()]


def test_phases_run_in_order_and_leave_the_input_as_it_was() -> None:
    context = start()
    evolved = evolve_in_phases(context, short())
    assert [e.detail["name"] for e in evolved.journal.events(PHASE)] == ["coarse", "medium", "fine"]
    assert [e.iteration for e in evolved.journal.events(PHASE)] == [0, 2, 4]
    assert evolved.iteration == 5
    assert context.iteration == 0
    assert not len(context.journal)
    assert not len(context.history)


def test_an_evolution_that_stopped_between_phases_ends_as_an_uninterrupted_one() -> None:
    phases = short()
    whole = evolve_in_phases(start(), phases)
    parts = evolve_in_phases(evolve_in_phases(start(), phases[:1]), phases)
    assert parts.journal == whole.journal
    assert parts.history == whole.history
    for one, other in zip(weights(parts), weights(whole), strict=True):
        assert torch.equal(one, other)


def test_an_evolution_that_stopped_within_a_phase_goes_on_there() -> None:
    phases = short()
    first = GrowthPhase("coarse", phases[0].system, 1)
    parts = evolve_in_phases(evolve_in_phases(start(), [first]), phases)
    whole = evolve_in_phases(start(), phases)
    assert parts.iteration == whole.iteration
    assert parts.journal == whole.journal


def test_phases_that_are_over_are_not_run_again() -> None:
    evolved = evolve_in_phases(start(), short())
    again = evolve_in_phases(evolved, short())
    assert again.iteration == evolved.iteration
    assert again.journal == evolved.journal


def test_the_journal_of_a_phased_evolution_replays() -> None:
    context = start()
    evolved = evolve_in_phases(context, short())
    assert evolved.journal[0].kind == START  # type: ignore[union-attr]
    replayed = replay(context.fork().network, evolved.journal, evolved.with_example().example)
    assert architecture(replayed) == architecture(evolved.network)


def test_the_report_counts_the_edits_of_each_phase() -> None:
    evolved = evolve_in_phases(start(), short())
    grown = phase_growth(evolved)
    assert [phase.name for phase in grown] == ["coarse", "medium", "fine"]
    assert [phase.iterations for phase in grown] == [2, 2, 1]
    assert sum(phase.edits for phase in grown) == len(evolved.journal.edits)
    assert all(isinstance(phase, PhaseGrowth) and phase.metrics for phase in grown)
    assert evolved.history.last is not None
    assert grown[-1].connections == evolved.history.last.connections
    assert grown[0].edits
    assert "connections" in grown[0].summary


def test_a_context_without_phases_has_no_report() -> None:
    assert phase_growth(start()) == ()


def test_the_fine_phase_deepens_the_coarse_one_connects() -> None:
    evolved = evolve_in_phases(start(), short())
    by_phase = {phase.name: phase.summary for phase in phase_growth(evolved)}
    assert "block" not in by_phase["coarse"]
    assert "residual block" in by_phase["fine"]


def test_a_phase_needs_a_name_of_its_own() -> None:
    system = ComposableEvolutionSystem([StandardNetworkTrainer(1)])
    with pytest.raises(ValueError, match="a name of its own; got a, a"):
        evolve_in_phases(start(), [GrowthPhase("a", system, 1), GrowthPhase("a", system, 1)])
    with pytest.raises(ValueError, match="must have a name"):
        GrowthPhase("", system, 1)
    with pytest.raises(ValueError, match="iterations must be 0 or more; got -1"):
        GrowthPhase("a", system, -1)


def test_a_multi_scale_network_learns_in_phases() -> None:
    blobs = start()
    context = NetworkContext(
        create_multi_scale_network(12, 3, scales=1, seed=0),
        blobs.data_loader,
        validation_loader=blobs.validation_loader,
    )
    evolved = evolve_in_phases(context, coarse_to_fine(epochs=(5, 3, 2), iterations=(2, 1, 1)))
    found = evolved.history.series("validation_loss")
    assert found[-1] < found[0]
