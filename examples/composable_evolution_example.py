"""A sparse network grows on the bundled digits: the standard system, one of your own, and phases.

Run it with ``python examples/composable_evolution_example.py``; it takes some seconds.
"""

from __future__ import annotations

from typing import Any

from structure_net import create_standard_network
from structure_net.data import Dataset, load_dataset
from structure_net.evolution import Event, EventKind, Plateau, Trial
from structure_net.evolution.components import (
    ComposableEvolutionSystem,
    ExtremaGrowthStrategy,
    NetworkContext,
    StandardExtremaAnalyzer,
    StandardNetworkTrainer,
    create_standard_evolution_system,
)
from structure_net.evolution.interfaces import Analyzer


def report(event: Event) -> None:
    """Prints each edit with its reason, and one line per iteration."""
    if event.kind is EventKind.EDITED:
        edit = event.detail["edit"]
        print(f"    {type(edit).__name__} at {edit.layer}: {event.detail['reason']}")
    if event.kind is EventKind.REJECTED:
        lost, kept = event.detail["held_out_loss"], event.detail["held_out_loss_without"]
        print(f"    rejected: held-out loss {lost:.4f} with growth, {kept:.4f} without")
    if event.kind is EventKind.ITERATION_FINISHED:
        last = event.detail["context"].history.last
        print(
            f"  iteration {event.iteration + 1}: {last.connections} connections,"
            f" held-out accuracy {last.metrics['validation_accuracy']:.3f},"
            f" {event.detail['seconds']:.1f} s"
        )


def start(data: Dataset, density: float) -> NetworkContext:
    """A sparse 64-64-32-10 network with its data."""
    return NetworkContext(
        create_standard_network([64, 64, 32, 10], density=density, seed=0),
        data.train.batches(64, shuffle=True, seed=0),
        validation_loader=data.validation.batches(512),
    )


def standard(data: Dataset) -> None:
    """Five iterations of analyze, grow, train."""
    print("The standard system, from 5 % of the connections:")
    context = start(data, 0.05)
    evolved = create_standard_evolution_system().evolve_network(context, 5, on_event=report)
    before = context.network.get_network_stats()["total_connections"]
    after = evolved.network.get_network_stats()["total_connections"]
    print(f"  grew from {before} to {after} connections\n")


class Confidence(Analyzer):
    """How far the newest validation accuracy is from 1."""

    def analyze(self, context: NetworkContext) -> dict[str, Any]:
        """Reads the history; looks at no data."""
        found = context.history.series("validation_accuracy")
        return {"error_rate": 1 - found[-1] if found else 1.0}


def of_ones_own(data: Dataset) -> None:
    """Growth only on a plateau, and only where a trial says that it pays."""
    print("Growth when the held-out loss stalls, kept where a trial shows a gain:")
    system = ComposableEvolutionSystem()
    system.add_component(Confidence())
    system.add_component(StandardExtremaAnalyzer(max_batches=10))
    system.add_component(
        ExtremaGrowthStrategy(patch_size=20, add_layer_on_extrema=True),
        when=Plateau(patience=2, min_delta=0.02),
        whether=Trial(batches=40),
    )
    system.add_component(StandardNetworkTrainer(epochs=8, learning_rate=0.01))
    evolved = system.evolve_network(start(data, 0.05), 4, on_event=report)
    print(f"  the analyzer's own metric: {system.analyze(evolved)['error_rate']:.3f}\n")


def in_phases(data: Dataset) -> None:
    """Coarse, then medium, then fine."""
    print("Three phases, from 5 %:")
    phases = [(50, False, 10, 3), (20, True, 5, 2), (5, False, 3, 1)]
    context = start(data, 0.05)
    for patch_size, deepen, epochs, iterations in phases:
        system = ComposableEvolutionSystem(
            [
                StandardExtremaAnalyzer(),
                ExtremaGrowthStrategy(patch_size=patch_size, add_layer_on_extrema=deepen),
                StandardNetworkTrainer(epochs=epochs),
            ]
        )
        context = system.evolve_network(context, iterations, on_event=report)
    print(f"  {len(context.journal.edits)} edits stand in the journal")


def main() -> None:
    """Runs the three programs."""
    data = load_dataset("digits", seed=0).flattened()
    standard(data)
    of_ones_own(data)
    in_phases(data)


if __name__ == "__main__":
    main()
