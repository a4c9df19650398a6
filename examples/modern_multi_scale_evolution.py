"""Coarse to fine: a network with few connections grows in three phases on the bundled digits.

First the three systems are put together by hand, then the same phases run as one evolution that can
be stopped and goes on where it was.

Run it with ``python examples/modern_multi_scale_evolution.py``; it takes some seconds.
"""

from __future__ import annotations

import torch

from structure_net import create_standard_network
from structure_net.data import Dataset, load_dataset
from structure_net.evolution import Event, EventKind
from structure_net.evolution.components import (
    ComposableEvolutionSystem,
    ExtremaGrowthStrategy,
    NetworkContext,
    ResidualBlockGrowthStrategy,
    SimpleInformationFlowAnalyzer,
    StandardExtremaAnalyzer,
    StandardNetworkTrainer,
)
from structure_net.evolution.measuring import measured
from structure_net.models import (
    coarse_to_fine,
    create_multi_scale_network,
    evolve_in_phases,
    phase_growth,
)
from structure_net.surgery.labels import describe_edit


def report(event: Event) -> None:
    """Prints each edit with its reason, and one line per iteration."""
    if event.kind is EventKind.EDITED:
        print(f"    {describe_edit(event.detail['edit'])}: {event.detail['reason']}")
    if event.kind is EventKind.ITERATION_FINISHED:
        last = event.detail["context"].history.last
        accuracy = last.metrics["validation_accuracy"]
        print(f"  iteration {event.iteration + 1}: {last.connections} connections, {accuracy:.3f}")


def by_hand(data: Dataset) -> None:
    """Three systems, one after the other."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = create_standard_network(architecture=[64, 64, 32, 10], sparsity=0.05, seed=0)
    network.to(device)
    train_loader = data.train.batches(64, shuffle=True, seed=0)

    # Phase 1: Coarse structure (few connections, basic topology)
    coarse_system = ComposableEvolutionSystem()
    coarse_system.add_component(StandardExtremaAnalyzer())
    coarse_system.add_component(ExtremaGrowthStrategy(patch_size=50))
    coarse_system.add_component(StandardNetworkTrainer(epochs=10))

    # Phase 2: Medium detail (add layers, increase connectivity)
    medium_system = ComposableEvolutionSystem()
    medium_system.add_component(StandardExtremaAnalyzer())
    medium_system.add_component(ExtremaGrowthStrategy(add_layer_on_extrema=True))
    medium_system.add_component(StandardNetworkTrainer(epochs=5))

    # Phase 3: Fine detail (optimize connections, add residuals)
    fine_system = ComposableEvolutionSystem()
    fine_system.add_component(SimpleInformationFlowAnalyzer())
    fine_system.add_component(ResidualBlockGrowthStrategy())
    fine_system.add_component(StandardNetworkTrainer(epochs=3))

    # Execute phased evolution
    context = NetworkContext(network, train_loader, device)
    context = coarse_system.evolve_network(context, num_iterations=3)
    context = medium_system.evolve_network(context, num_iterations=2)
    context = fine_system.evolve_network(context, num_iterations=1)

    stats = context.network.get_network_stats()
    score = measured(context.network, data.test.batches(512, device=device), context.loss)
    assert score is not None
    print(f"  {stats['total_connections']} connections, test accuracy {score.accuracy:.3f}")


def as_one(data: Dataset) -> None:
    """The same phases as one evolution; the journal knows where each begins."""
    context = NetworkContext(
        create_multi_scale_network(64, 10, scales=2, seed=0),
        data.train.batches(64, shuffle=True, seed=0),
        validation_loader=data.validation.batches(512),
    )
    phases = coarse_to_fine()
    context = evolve_in_phases(context, phases[:2], on_event=report)  # and stop here
    context = evolve_in_phases(context, phases, on_event=report)  # the first two are over
    for phase in phase_growth(context):
        accuracy = phase.metrics["validation_accuracy"]
        said = phase.summary or "no edit"
        print(f"  {phase.name}: {said}; {phase.connections} connections, {accuracy:.3f}")
    score = measured(context.network, data.test.batches(512), context.loss)
    assert score is not None
    print(f"  test accuracy {score.accuracy:.3f}")


def main() -> None:
    """Runs both."""
    data = load_dataset("digits", seed=0).flattened()
    print("Three systems by hand, from 5 % of the connections:")
    by_hand(data)
    print("The same phases as one evolution, from as few connections as leave no unit idle:")
    as_one(data)


if __name__ == "__main__":
    main()
